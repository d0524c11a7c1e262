"""The gradient of the policy-gradient methods, through real networks, against all rollouts listed one by one.

Four tokens and at most three actions: every rollout of a tiny model is known with its probability, so expectations
are sums. What is expected comes from autograd on the definition of the objective and from literal transcriptions.
"""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from ketchup.estimators import baseline, estimator, k_step
from ketchup.methods import method
from ketchup.methods.credit import Credit, assign
from ketchup.models.scoring import score
from ketchup.rollouts.types import Rollouts
from ketchup.training.experience import as_trajectories
from tests import reference, tiny

PROMPT = [2, 5, 3]
LIMIT = 3
BASELINES = ("none", "mean", "mean-per-step", "min-variance", "teacher-value")
LLMR = estimator("llmr")
K_AND_TAIL = [(1, "one-step"), (2, "one-step"), (2, "segment"), (3, "segment"), (5, "one-step")]


@pytest.fixture(scope="module", params=tiny.KINDS)
def world(request):
    return World(request.param)


class World:
    """All rollouts of a tiny student for one prompt, with q and v of a tiny teacher."""

    def __init__(self, kind):
        self.student, self.teacher = (tiny.language_model(kind, seed=seed) for seed in (0, 1))
        found = tiny.sequence_probabilities(self.student, PROMPT, LIMIT)
        self.rows = [list(row) for row in found]
        self.probabilities = list(found.values())
        self.values = [self._values(row) for row in self.rows]

    def _values(self, row):
        logits = [tiny.next_logits(self.teacher, PROMPT, row[:t]) for t in range(len(row))]
        return [x[a].item() for x, a in zip(logits, row, strict=True)], [x.max().item() for x in logits]

    def rollouts(self):
        width = max(len(row) for row in self.rows)
        tokens = torch.tensor([row + [self.student.pad_id] * (width - len(row)) for row in self.rows])
        mask = torch.tensor([[t < len(row) for t in range(width)] for row in self.rows])
        ended = torch.tensor([row[-1] == self.student.eos_id for row in self.rows])
        return Rollouts(tuple(str(i) for i in range(len(self.rows))), tokens, mask, mask, ended)

    def log_probs(self, row):
        """log π of each action of a row, with gradient, from one plain forward pass."""
        network, model = self.student.network, self.student
        if model.start_id is None:
            logits = network(input_ids=torch.tensor([PROMPT + row])).logits[0, len(PROMPT) - 1 : -1]
        else:
            decoder = torch.tensor([[model.start_id, *row[:-1]]])
            logits = network(input_ids=torch.tensor([PROMPT]), decoder_input_ids=decoder).logits[0]
        return logits[:, : model.vocabulary].log_softmax(-1)[range(len(row)), row]

    def gradient(self, objective):
        weights = list(self.student.network.parameters())
        found = torch.autograd.grad(objective, weights, allow_unused=True)
        return torch.cat([g.flatten() for g in found if g is not None])

    @cache
    def score_function(self, *taken):
        """∇ log π of the last action after the others."""
        return self.gradient(self.log_probs(list(taken))[-1])

    def expected_gradient(self, name, options):
        """E of the gradient of the method's own loss, as the training loop would weigh and sum it.

        The loss is linear in the weights, so weights times probabilities give the expectation in one batch.
        """
        chosen = method(name, {"clip": "none", **options})
        rollouts = self.rollouts()
        prompts = [PROMPT] * len(self.rows)
        values, own = score(self.teacher, self.student, prompts, rollouts.tokens, rollouts.action_mask)
        weights = assign(chosen.credit, values, own, rollouts.action_mask, rollouts.ended, 1, lambda total: total)
        rows = as_trajectories(prompts, rollouts, weights, values)
        rows = [replace(row, weights=p * row.weights) for row, p in zip(rows, self.probabilities, strict=True)]
        (part,) = chosen.parts
        return self.gradient(part.loss(self.student, self.teacher, rows).total)

    def exact_gradient(self, returns):
        """-Σ_r p(r) Σ_t w_t ∇ log π(a_t): Eq. 8 with the weights `returns(q, v)` gives."""
        total = 0.0
        for row, p, values in zip(self.rows, self.probabilities, self.values, strict=True):
            for t, weight in enumerate(returns(*values)):
                total = total - p * weight * self.score_function(*row[: t + 1])
        return total

    @cache
    def gradient_of_the_objective(self):
        """-∇ J with J = Σ_r π(r) G_0(r), by autograd through the probabilities themselves (Eq. 3)."""
        total = 0.0
        for row, values in zip(self.rows, self.values, strict=True):
            total = total - self.log_probs(row).sum().exp() * reference.reward_to_go(*values)[0]
        return self.gradient(total)

    def corrected_gradient(self, name, options, by, most):
        """The same where rollouts were drawn from μ, log μ = log π + noise of each action, and count as their ratios.

        μ is a planted one: what an engine tells, of any size, need not add up to 1 for its ratio to be undone.
        """
        generator = torch.Generator().manual_seed(1)
        chosen = method(name, {"clip": "none", **options})
        rollouts = self.rollouts()
        prompts = [PROMPT] * len(self.rows)
        values, own = score(self.teacher, self.student, prompts, rollouts.tokens, rollouts.action_mask)
        told = own.log_prob + by * torch.randn(own.log_prob.shape, generator=generator)
        weights = assign(chosen.credit, values, own, rollouts.action_mask, rollouts.ended, 1, lambda total: total)
        rows = as_trajectories(prompts, replace(rollouts, sampler_log_prob=told), weights, values, most)
        mu = [math.exp(row.sampler_log_probs.sum()) for row in rows]
        rows = [replace(row, weights=m * row.weights) for row, m in zip(rows, mu, strict=True)]
        loss = chosen.parts[0].loss(self.student, self.teacher, rows)
        return self.gradient(loss.total), loss.sums, mu


def assert_same(found, expected):
    assert (found - expected).abs().max() < 2e-4 * expected.abs().max()


def test_the_list_is_complete(world):
    assert sum(world.probabilities) == pytest.approx(1)
    assert {len(row) for row in world.rows} == {1, 2, 3}


@pytest.mark.parametrize("baseline", BASELINES)
def test_llmr_is_unbiased_under_every_baseline(world, baseline):
    found = world.expected_gradient("llmr", {"baseline": baseline})
    assert_same(found, world.gradient_of_the_objective())


@pytest.mark.parametrize("baseline", BASELINES)
def test_rollouts_of_another_policy_give_the_gradient_where_they_count_as_their_ratios(world, baseline):
    corrected, sums, mu = world.corrected_gradient("llmr", {"baseline": baseline}, 0.3, 1e9)
    assert_same(corrected, world.gradient_of_the_objective())
    plain, _, _ = world.corrected_gradient("llmr", {"baseline": baseline}, 0.3, None)
    assert (plain - corrected).abs().max() > 0.02 * corrected.abs().max()
    ratios = [p / m for p, m in zip(world.probabilities, mu, strict=True)]
    assert float(sums["sampler_ratio"]) == pytest.approx(sum(ratios), rel=1e-4)
    assert float(sums["sampler_ratio_squared"]) == pytest.approx(sum(r * r for r in ratios), rel=1e-4)
    assert float(sums["sampler_rollouts"]) == len(ratios)
    held, _, _ = world.corrected_gradient("llmr", {"baseline": baseline}, 0.3, 1.0)
    assert (held - corrected).abs().max() > 0.02 * corrected.abs().max()


def test_without_a_mismatch_correction_changes_nothing(world):
    corrected, sums, _ = world.corrected_gradient("ketchup", {"k": 2}, 0.0, 10.0)
    assert_same(corrected, world.expected_gradient("ketchup", {"k": 2}))
    assert float(sums["sampler_gap"]) < 2e-6 * len(world.rows) * LIMIT
    assert float(sums["sampler_kl"]) < 1e-7


@pytest.mark.parametrize("gauge", ["centered", "logprob"])
def test_no_gauge_moves_the_expected_gradient(world, gauge):
    assert_same(world.expected_gradient("llmr", {"gauge": gauge}), world.gradient_of_the_objective())


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize(("k", "tail"), K_AND_TAIL)
def test_ketchup_has_the_predicted_bias(world, k, tail, baseline):
    found = world.expected_gradient("ketchup", {"k": k, "tail": tail, "baseline": baseline})
    assert_same(found, world.exact_gradient(lambda q, v: reference.k_step_returns(q, v, k, tail)))
    # Eq. 26: what is added to ∇J is E[-b_t ∇ log π], b_t the sum of the skipped advantages
    bias = world.exact_gradient(lambda q, v: [-b for b in reference.skipped_advantages(q, v, k, tail)])
    scale = found.abs().max()
    assert (found - world.gradient_of_the_objective() - bias).abs().max() < 3e-4 * scale
    if (k, tail) in {(2, "segment"), (3, "segment"), (2, "one-step")}:
        assert bias.abs().max() > 0.01 * scale


def test_llmr_is_ketchup_with_k_1(world):
    for name in BASELINES:
        llmr = world.expected_gradient("llmr", {"baseline": name})
        assert torch.equal(llmr, world.expected_gradient("ketchup", {"k": 1, "baseline": name}))


def test_llmr_and_ketchup_are_rows_of_the_general_form(world):
    for name, options, text in [
        ("llmr", {"baseline": "mean"}, "llmr"),
        ("ketchup", {"k": 2, "tail": "segment"}, "k-step:2"),
        ("ketchup", {"k": 3, "baseline": "min-variance"}, "k-step:3:one-step"),
    ]:
        rest = {key: value for key, value in options.items() if key == "baseline"}
        general = world.expected_gradient("reinforce", {"estimator": text, **rest})
        assert torch.equal(world.expected_gradient(name, options), general)


def test_baselines_change_single_rollouts_or_the_tests_above_say_nothing(world):
    credit = {name: method("llmr", {"baseline": name, "clip": "none"}).credit for name in BASELINES}
    rollouts = world.rollouts()
    values, own = score(world.teacher, world.student, [PROMPT] * len(world.rows), rollouts.tokens, rollouts.action_mask)
    weights = {
        name: assign(c, values, own, rollouts.action_mask, rollouts.ended, 1, lambda x: x).weights
        for name, c in credit.items()
    }
    for one in BASELINES:
        for other in BASELINES:
            assert one == other or (weights[one] - weights[other]).abs().max() > 0.02


@pytest.mark.parametrize(("temperature", "top_k"), [(0.5, 0), (2.0, 0), (1.0, 2), (0.7, 3)])
def test_the_policy_is_the_distribution_that_was_sampled_from(world, temperature, top_k):
    """At a temperature or within the top k, ∇ log π is that of the tempered, cut distribution."""
    (part,) = method("llmr", {"temperature": temperature, "top_k": top_k}).parts
    for row in world.rows[:6]:
        for t in range(len(row)):
            logits = tiny.next_logits(world.student, PROMPT, row[:t]) / temperature
            if top_k:
                allowed = {*logits.topk(top_k).indices.tolist(), row[t]}
                logits = torch.tensor([x if a in allowed else -math.inf for a, x in enumerate(logits.tolist())])
            weights = [float(i == t) for i in range(len(row))]
            trajectory = as_weighted(row, weights)
            with torch.no_grad():
                found = part.loss(world.student, None, [trajectory]).total.item()
            assert found == pytest.approx(-logits.log_softmax(-1)[row[t]].item(), abs=1e-4)


def as_weighted(row, weights):
    from ketchup.methods.base import Trajectory

    row = Trajectory.of(PROMPT, row, [True] * len(row))
    return replace(row, weights=torch.tensor(weights), teacher_log_probs=torch.zeros(len(weights)))


# Credit: clip, truncation, the calculator


def credited(credit, q, v, actions, ended):
    from ketchup.models.scoring import TeacherValues

    q, v = torch.tensor(q, dtype=torch.float64), torch.tensor(v, dtype=torch.float64)
    zeros = torch.zeros_like(q)
    values = TeacherValues(q, v, zeros, zeros)
    return assign(credit, values, None, torch.tensor(actions), torch.tensor(ended), 1, lambda total: total)


Q = [[-3.0, 1.0, -50.0, 2.0, -1.0], [0.5, -2.0, 0.0, 0.0, 0.0]]
V = [[1.0, 2.0, 3.0, 2.0, 0.0], [2.0, 1.0, 0.0, 0.0, 0.0]]
ACTIONS = [[True] * 5, [True, True, False, False, False]]


def test_the_return_is_clipped_after_the_baseline():
    free = credited(Credit(LLMR, clip="none", baseline=baseline("mean")), Q, V, ACTIONS, [True, True])
    cut = credited(Credit(LLMR, clip="return", clip_range=10.0, baseline=baseline("mean")), Q, V, ACTIONS, [True, True])
    assert torch.equal(cut.weights, free.weights.clamp(-10, 10))
    assert cut.clipped.sum() == (free.weights.abs() > 10).sum() > 0
    assert torch.equal(cut.returns, free.returns)
    count = sum(sum(row) for row in ACTIONS)
    assert free.weights.sum().item() == pytest.approx(0, abs=1e-9)
    literal = [
        g for q, v, a in zip(Q, V, ACTIONS, strict=True) for g in reference.reward_to_go(q[: sum(a)], v[: sum(a)])
    ]
    mean = sum(literal) / count
    assert free.weights[torch.tensor(ACTIONS)].tolist() == pytest.approx([g - mean for g in literal])


@pytest.mark.parametrize("k", [1, 2, 3, 9])
@pytest.mark.parametrize("tail", ["segment", "one-step"])
def test_every_step_reward_is_clipped_before_the_sum(k, tail):
    credit = Credit(k_step.build(k, tail), clip="step", clip_range=4.0)
    found = credited(credit, Q, V, ACTIONS, [True, True])
    for row, (q, v, actions) in enumerate(zip(Q, V, ACTIONS, strict=True)):
        n = sum(actions)
        expected = reference.clipped_returns(q[:n], v[:n], k, tail, 4.0)
        assert found.weights[row, :n].tolist() == pytest.approx(expected)
    assert found.clipped.any()
    assert not (found.clipped & ~torch.tensor(ACTIONS)).any()


def test_truncated_rollouts_can_be_dropped_from_weights_and_means():
    both = credited(
        Credit(LLMR, clip="none", baseline=baseline("mean"), truncation="drop"), Q, V, ACTIONS, [True, False]
    )
    alone = credited(Credit(LLMR, clip="none", baseline=baseline("mean")), Q[:1], V[:1], ACTIONS[:1], [True])
    assert torch.equal(both.weights[0], alone.weights[0])
    assert (both.weights[1] == 0).all()
    assert not both.mask[1].any()


@pytest.mark.parametrize("k", [1, 2, 3])
def test_what_the_calculator_writes_is_no_step(k):
    holes = [[True, False, True, False, True]]
    found = credited(Credit(k_step.build(k, "one-step"), clip="none"), Q[:1], V[:1], holes, [True])
    q, v = ([row[t] for t in (0, 2, 4)] for row in (Q[0], V[0]))
    assert found.weights[0].tolist() == pytest.approx([*reference.algorithm_1(q, v, k), 0, 0])
    assert found.mask.tolist() == [[True, True, True, False, False]]
