"""What holds for every row of both tables, and so for a row that is added."""

import pytest
import torch

from ketchup.errors import DataError
from ketchup.estimators import (
    BASELINES,
    ESTIMATORS,
    NUMBERS,
    Estimator,
    EstimatorRow,
    Numbers,
    baseline,
    estimator,
    k_step,
)
from ketchup.estimators.objectives import EXPECTED_RETURN
from ketchup.maths.tabular import random_world
from tests import reference
from tests.estimators import literal
from tests.estimators.given import TEXTS, batch, flat, numbers, rows_of

GAUGES = ("raw", "centered", "logprob")
DOUBLE = {"dtype": torch.float64}


def a_row_of_a_newcomer():
    """The own step alone: enough of a file."""
    return Estimator(
        "own-step",
        lambda n: n.q,
        EXPECTED_RETURN,
        unbiased=False,
        needs=frozenset({"q"}),
        coefficients=lambda n: torch.tensor([1.0] + [0.0] * n, **DOUBLE),
    )


@pytest.fixture(params=[*TEXTS, "own-step"])
def row(request, monkeypatch):
    """Every example of every row of the table, and one that a test adds."""
    added = EstimatorRow(a_row_of_a_newcomer, "q_t", "this file", ("own-step",))
    monkeypatch.setitem(ESTIMATORS, "own-step", added)
    return estimator(request.param)


# Each row


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("text", TEXTS)
def test_weights_are_the_literal_formula(text, seed):
    given = batch(seed)
    found = estimator(text).returns(numbers(given), "raw")
    assert rows_of(found, numbers(given).mask) == pytest.approx(flat(literal.batch_returns(text, given)), abs=1e-9)


def test_padding_changes_nothing(row):
    given = batch(5)
    narrow, wide = numbers(given), numbers(given, extra=3)
    found = row.returns(wide, "raw")
    assert rows_of(found, wide.mask) == pytest.approx(rows_of(row.returns(narrow, "raw"), narrow.mask), abs=1e-9)


def test_a_row_looks_at_what_it_says_it_needs_and_at_nothing_else(row):
    given = batch(6)
    found = row.returns(numbers(given), "raw")
    others = {name: None for name in NUMBERS if name not in row.needs and name not in ("q", "v")}
    if row.gauge == "logprob":
        assert "logsumexp" in row.needs
    torch.testing.assert_close(row.returns(numbers(given, **others), "raw"), found, rtol=0, atol=0)
    changed = {name: 7 * torch.rand_like(found) for name in NUMBERS if name not in row.needs}
    torch.testing.assert_close(row.returns(numbers(given, **changed), "raw"), found, rtol=0, atol=0)


def test_what_is_lacking_is_named(row):
    for name in row.needs - {"q", "v"}:
        with pytest.raises(DataError, match=f"lack {name}, which {row.name} needs; score them anew"):
            row.returns(numbers(batch(1), **{name: None}), "raw")


def test_coefficients_are_those_of_the_terms_of_the_return(row):
    if row.coefficients is None:  # not linear in the terms of its objective's return
        return
    given = numbers(batch(7))
    seen = row.seen(given, "raw")
    first, later = row.objective.first(seen), row.objective.later(seen)
    if row.objective.name == "state-kl":
        later = first  # which its coefficients leave out
    found = row.returns(given, "raw")
    for r, length in enumerate(given.mask.sum(1).tolist()):
        for t in range(length):
            coefficients = row.coefficients(length - 1 - t)
            assert coefficients.dtype == torch.float64
            terms = torch.cat([first[r, t : t + 1], later[r, t + 1 : length]])
            assert found[r, t].item() == pytest.approx((coefficients * terms).sum().item(), abs=1e-9)


@pytest.mark.parametrize("tail", ["segment", "one-step"])
@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 40])
def test_terms_are_counted(k, tail):
    """Σ c_i² is the count of Eqs. 19 and 24, of the positions that a walk of K actions at a time looks at."""
    row = k_step.build(k, tail)
    for n in (0, 1, 3, 4, 5, 17):
        assert row.coefficients(n).square().sum().item() == len(reference.visited(n + 1, 0, k, tail))


def test_mean_term_counts_of_the_two_lengths_worked_out_in_the_notes():
    # Numbers of advantage terms under Algorithm 1, averaged over positions, for K = 1, 2, 4, 8, 16.
    for length, expected in [(20, [9.5, 5.0, 3.5, 3.9, 6.5]), (300, [149.5, 75.0, 38.5, 21.7, 16.3])]:
        for k, mean in zip((1, 2, 4, 8, 16), expected, strict=True):
            row = k_step.build(k, "one-step")
            counts = [row.coefficients(n).sum().item() - 1 for n in range(length)]
            assert sum(counts) / length == pytest.approx(mean, abs=0.051)


# In a world where everything is known


@pytest.fixture(scope="module")
def world():
    return random_world(seed=1)


@pytest.fixture(scope="module")
def pairs(world):
    """All pairs of rollouts as the two samples of an input, with their probabilities [R] (of the pair)."""
    rollouts, p = world.listed()
    n = len(p)
    index = torch.stack([torch.arange(n).repeat_interleave(n), torch.arange(n).repeat(n)], dim=1).flatten()
    doubled = type(rollouts)(*(getattr(rollouts, name)[index] for name in ("q", "v", "mask", "actions", "states")))
    return (
        doubled,
        Numbers(doubled.mask, 2, **world.known(doubled)),
        (p[:, None] * p).flatten().repeat_interleave(2) / 2,
    )


@pytest.fixture(scope="module")
def exact(world):
    """The gradient of each objective by autograd on its definition."""

    def gradient(name):
        logits = world.student_logits().requires_grad_()
        world.objective(name, logits).backward()
        return logits.grad

    return gradient


def expected_gradient(world, pairs, row, gauge="raw", subtracted="none"):
    """E[Σ w ∇ log π] over all pairs of rollouts, with the first term over all actions where the row has it so."""
    rollouts, known, p = pairs
    returns = row.returns(known, gauge)
    weights = baseline(subtracted).weights(returns, row.seen(known, gauge), row.objective)
    total = (p[:, None, None] * world.gradients(rollouts, weights)).sum(0)
    return total + gradient_of_own_values(world) if row.all_actions else total


def gradient_of_own_values(world):
    """Σ_s visits(s) ∇ Σ_a π(a | s) q(s, a), states as they come."""
    logits = world.student_logits().requires_grad_()
    visits = torch.tensor([world.visits(state) for state in world.states], **DOUBLE)
    (visits * (logits.softmax(-1) * world.teacher_logits()).sum(-1)).sum().backward()
    return logits.grad


def test_a_row_that_is_unbiased_has_the_gradient_of_its_objective_and_no_other_has(row, world, pairs, exact):
    gap = expected_gradient(world, pairs, row) - exact(row.objective.name)
    assert (gap.abs().max().item() < 1e-9) == row.unbiased
    if not row.unbiased:
        assert gap.abs().max() > 0.01


def test_the_bias_of_the_gradient_is_that_of_the_return(row, world, pairs, exact):
    """E[(w_t - G_t) ∇ log π(a_t | s_t)], with G_t by the objective's own definition: Eq. 26 for every row."""
    rollouts, known, p = pairs
    off = row.returns(known, "raw") - row.target(known, "raw")
    predicted = (p[:, None, None] * world.gradients(rollouts, off)).sum(0)
    found = expected_gradient(world, pairs, row) - exact(row.objective.name)
    torch.testing.assert_close(found, predicted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("gauge", GAUGES)
def test_no_gauge_moves_the_expected_gradient(row, world, pairs, gauge):
    expected = expected_gradient(world, pairs, row, "raw")
    torch.testing.assert_close(expected_gradient(world, pairs, row, gauge), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in BASELINES if baseline(name).unbiased])
def test_an_unbiased_baseline_moves_no_expected_gradient(row, world, pairs, name):
    if row.compares_samples and baseline(name).compares_samples:
        return  # the return of one of the others is then this rollout's own
    expected = expected_gradient(world, pairs, row)
    torch.testing.assert_close(expected_gradient(world, pairs, row, subtracted=name), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["placebo:constant", "placebo:shuffled"])
def test_a_placebo_has_no_expected_gradient_but_one_of_each_rollout(world, pairs, name):
    rollouts, known, _ = pairs
    row = estimator(name)
    assert expected_gradient(world, pairs, row).abs().max() < 1e-9
    assert world.gradients(rollouts, row.returns(known, "raw")).abs().max() > 0.1


def test_standardising_moves_the_expected_gradient(world, pairs):
    """GRPO's division is no multiple of the gradient either."""
    assert not baseline("grpo").unbiased
    expected = expected_gradient(world, pairs, estimator("llmr")).flatten()
    found = expected_gradient(world, pairs, estimator("llmr"), subtracted="grpo").flatten()
    assert torch.nn.functional.cosine_similarity(found, expected, dim=0) < 0.99


# Identities between rows


def test_ends_of_a_parameter_are_other_rows():
    given = numbers(batch(8))

    def same(one, other):
        left, right = (estimator(text).returns(given, "raw") for text in (one, other))
        torch.testing.assert_close(left, right, rtol=0, atol=1e-9)

    same("shrink:1", "llmr")
    same("discount:1", "llmr")
    same("k-step:1", "llmr")
    same("k-step:1:one-step", "llmr")
    same("n-step:99", "llmr")
    same("k-step:99", "n-step:1")  # K → ∞ leaves the action's own advantage alone
    same("k-step:99", "shrink:0")
    same("k-step:99", "discount:0")
    same("k-step:99:one-step", "llmr")
    same("all-action", "all-action:1")


def test_generalised_advantage_estimation_with_the_critic_v_is_discounting():
    """GAE(λ) as its authors write it: Σ λ^l δ_{t+l}, δ_t = r_t + V(s_{t+1}) - V(s_t); r_t = q_t - v_{t+1}, V = v."""
    given = batch(9)
    found = estimator("discount:0.7").returns(numbers(given), "raw") - torch.nan_to_num(numbers(given).v)
    for r, rollout in enumerate(row for rows in given for row in rows):
        q, v = rollout["q"], [*rollout["v"], 0.0]
        deltas = [(q[t] - v[t + 1]) + v[t + 1] - v[t] for t in range(len(q))]
        for t in range(len(q)):
            gae = sum(0.7**i * delta for i, delta in enumerate(deltas[t:]))
            assert found[r, t].item() == pytest.approx(gae, abs=1e-9)


def test_kl_of_a_state_is_logsumexp_less_entropy_less_own_value(world):
    log_pi, logits = world.student_logits().log_softmax(-1), world.teacher_logits()
    divergence = (log_pi.exp() * (log_pi - logits.log_softmax(-1))).sum(-1)
    rollouts, _ = world.listed()
    n = Numbers(rollouts.mask, 1, **world.known(rollouts))
    found = (n.logsumexp - n.entropy - n.own_value)[n.mask]
    torch.testing.assert_close(found, divergence[rollouts.states[n.mask]])


def test_the_hard_return_is_the_soft_one_and_the_min_entropies_of_later_states():
    """G_0 = [lse_0 + Σ ℓ_i] + Σ_{i≥1} (lse_i - v_i)."""
    given = batch(10)
    hard = estimator("llmr").returns(numbers(given), "raw")[:, 0]
    soft = estimator("soft").returns(numbers(given), "raw")[:, 0]
    for r, rollout in enumerate(row for rows in given for row in rows):
        paid = [a - b for a, b in zip(rollout["logsumexp"], rollout["v"], strict=True)]
        assert hard[r].item() == pytest.approx(rollout["logsumexp"][0] + soft[r].item() + sum(paid[1:]), abs=1e-9)


# Baselines


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("text", ["llmr", "k-step:2:one-step", "soft", "reverse-kl:0", "reverse-kl:1"])
@pytest.mark.parametrize("name", BASELINES)
def test_weights_under_a_baseline_are_the_literal_formula(text, name, seed):
    given = batch(seed)
    known, row = numbers(given), estimator(text)
    found = baseline(name).weights(row.returns(known, "raw"), row.seen(known, "raw"), row.objective)
    assert rows_of(found, known.mask) == pytest.approx(flat(literal.weights(name, text, given)), abs=1e-9)


@pytest.mark.parametrize("name", BASELINES)
def test_what_a_baseline_lacks_is_named(name):
    for lacking in baseline(name).needs - {"q", "v"}:
        known = numbers(batch(1), **{lacking: None})
        with pytest.raises(DataError, match=f"lack {lacking}, which the baseline {name} needs"):
            baseline(name).weights(known.q, known, EXPECTED_RETURN)


@pytest.mark.parametrize("name", [name for name in BASELINES if baseline(name).compares_samples])
def test_other_inputs_do_not_reach_a_baseline_of_samples(name):
    """Leave-one-out and GRPO know which rows share an input."""
    first, second = batch(11, inputs=1), batch(12, inputs=1)

    def weights(rows):
        known = numbers(rows)
        returns = estimator("llmr").returns(known, "raw")
        return rows_of(baseline(name).weights(returns, known, EXPECTED_RETURN), known.mask)

    assert weights(first + second) == pytest.approx(weights(first) + weights(second), abs=1e-12)


def test_equal_returns_have_no_standardised_weights():
    """Not even where they differ by rounding, which a division would blow up."""
    known = numbers(batch(13))
    returns = torch.where(known.mask, 100 + 1e-14 * torch.rand_like(known.q), 0)
    assert (baseline("grpo").weights(returns, known, EXPECTED_RETURN) == 0).all()


def test_a_rollout_without_others_has_no_baseline_of_them():
    known = numbers(batch(14, samples=1))
    returns = estimator("llmr").returns(known, "raw")
    for name in ("leave-one-out", "leave-one-out-per-step"):
        assert torch.equal(baseline(name).weights(returns, known, EXPECTED_RETURN), returns)
    lonely = numbers(batch(15, samples=2, longest=3))
    dropped = lonely.without(torch.arange(6) % 2 == 1)
    returns = estimator("llmr").returns(dropped, "raw")
    assert torch.equal(baseline("leave-one-out").weights(returns, dropped, EXPECTED_RETURN), returns)
