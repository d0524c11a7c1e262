"""One optimiser step of `train` under every row of both tables, against autograd on one rollout at a time."""

import pytest
import torch

from ketchup.estimators import BASELINES, ESTIMATORS, Estimator, EstimatorRow
from ketchup.estimators.objectives import EXPECTED_RETURN
from ketchup.methods.base import Trajectory
from ketchup.training.experience import Student
from tests import tiny
from tests.estimators import literal
from tests.estimators.given import TEXTS
from tests.training.given import fit, settings

PROMPTS = [[2, 3, 4], [5], [3, 3], [4, 2, 5, 5]]
ROWS = [Trajectory.of(prompt, [2, 1], [True, True]) for prompt in PROMPTS]
SAMPLES, RATE = 2, 1e-2


def drawn_in_training(monkeypatch):
    """A list that the rollouts of training steps are put into; validations draw one sample each."""
    kept = []
    draw = Student.draw

    def watching(student, inputs, sampling, seed):
        rollouts = draw(student, inputs, sampling, seed)
        if sampling.samples_per_input == SAMPLES:
            kept.append(
                [tokens[mask].tolist() for tokens, mask in zip(rollouts.tokens, rollouts.token_mask, strict=True)]
            )
        return rollouts

    monkeypatch.setattr(Student, "draw", watching)
    return kept


def one_step(monkeypatch, folder, kind, options):
    """Student before and after, teacher, rollouts by input, for one step of training."""
    before, after = (tiny.language_model(kind) for _ in range(2))
    teacher, kept = tiny.language_model(kind, seed=1), drawn_in_training(monkeypatch)
    given = settings(
        "reinforce",
        options={"samples_per_input": SAMPLES, "clip": "none", **options},
        steps=1, batch_size=2, accumulation=2, learning_rate=RATE, eval_every=9,
    )  # fmt: skip
    fit(given, after, ROWS, folder, teacher=teacher)
    (rollouts,) = kept
    return before, after, teacher, rollouts


def prompts_of_step():
    """The inputs in the order of the step: the permutation of its epoch."""
    from ketchup.training.loop import step_inputs

    given = settings("reinforce", options={"estimator": "llmr"}, batch_size=2, accumulation=2)
    return [PROMPTS[index] for index in step_inputs(given, 0, len(PROMPTS))]


def sampled(logits, temperature, top_k):
    """The logits [..., V] of what a temperature and a top k make of a model's."""
    kept = torch.zeros_like(logits)
    if top_k:
        kept = torch.full_like(logits, -torch.inf).scatter(-1, logits.topk(top_k).indices, 0.0)
    return logits / temperature + kept


def log_probs(model, prompt, row, drawn):
    """log π of all tokens at each action [L, V], with gradient, from one plain forward pass of one rollout."""
    if model.start_id is None:
        logits = model.network(input_ids=torch.tensor([prompt + row])).logits[0, len(prompt) - 1 : -1]
    else:
        decoder = torch.tensor([[model.start_id, *row[:-1]]])
        logits = model.network(input_ids=torch.tensor([prompt]), decoder_input_ids=decoder).logits[0]
    return sampled(logits[:, : model.vocabulary], *drawn).log_softmax(-1)


def numbers(student, teacher, prompt, row, drawn):
    """What the literal formulas look at, from one forward pass a token."""
    found = {name: [] for name in ("q", "v", "logsumexp", "log_prob", "entropy", "collision", "own_value")}
    for t, action in enumerate(row):
        q = tiny.next_logits(teacher, prompt, row[:t])
        raw = tiny.next_logits(student, prompt, row[:t])
        plain = raw.log_softmax(-1)
        log_pi = sampled(raw, *drawn).log_softmax(-1)
        pi = log_pi.exp()
        values = (
            q[action],
            q.max(),
            q.logsumexp(-1),
            log_pi[action],
            -(plain.exp() * plain).sum(),
            (pi**2).sum(),
            (pi * q).sum(),
        )
        for column, value in zip(found.values(), values, strict=True):
            column.append(value.item())
    return found


def literal_gradient(student, teacher, rollouts, text, baseline, drawn=(1.0, 0)):
    """-1/(number of actions) Σ over rollouts of Σ_t w_t ∇ log π(a_t), each rollout by itself."""
    prompts = prompts_of_step()
    places = [(prompts[index // SAMPLES], row) for index, row in enumerate(rollouts)]
    known = [numbers(student, teacher, prompt, row, drawn) for prompt, row in places]
    batch = [known[start : start + SAMPLES] for start in range(0, len(known), SAMPLES)]
    weights = [row for rows in literal.weights(baseline, text, batch) for row in rows]
    parameters = list(student.network.parameters())
    total = [torch.zeros_like(weight) for weight in parameters]
    for (prompt, row), w in zip(places, weights, strict=True):
        log_pi = log_probs(student, prompt, row, drawn)
        loss = -sum(x * log_pi[t, a] for t, (a, x) in enumerate(zip(row, w, strict=True)))
        if text.startswith("all-action"):
            q = torch.stack([tiny.next_logits(teacher, prompt, row[:t]).float() for t in range(len(row))])
            loss = loss - (log_pi.exp() * q).sum()
        for sums, found in zip(total, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            if found is not None:
                sums.add_(found)
    actions = sum(map(len, rollouts))
    return [sums / actions for sums in total]


def assert_is_the_step(before, after, gradient):
    """AdamW's first step moves every weight by the rate, against the sign of its gradient."""
    largest = max(g.abs().max() for g in gradient)
    compared = 0
    for old, new, g in zip(before.network.parameters(), after.network.parameters(), gradient, strict=True):
        clear = g.abs() > 1e-4 * largest  # where single precision leaves no doubt about the sign
        expected = old - RATE * g / (g.abs() + 1e-8)
        torch.testing.assert_close(new[clear], expected[clear], rtol=0, atol=1e-3 * RATE)
        compared += int(clear.sum())
    assert compared > 500


@pytest.fixture
def seen_gradients(monkeypatch):
    """What AdamW is given."""
    kept = []
    step = torch.optim.AdamW.step

    def watching(optimizer, *arguments, **options):
        kept.append([None if w.grad is None else w.grad.clone() for w in optimizer.param_groups[0]["params"]])
        return step(optimizer, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", watching)
    return kept


def check(monkeypatch, folder, seen, kind, text, baseline, drawn=(1.0, 0)):
    options = {"estimator": text, "baseline": baseline, "temperature": drawn[0], "top_k": drawn[1]}
    before, after, teacher, rollouts = one_step(monkeypatch, folder, kind, options)
    gradient = literal_gradient(before, teacher, rollouts, text, baseline, drawn)
    (found,) = seen
    scale = max(g.abs().max() for g in gradient)
    for mine, theirs in zip(gradient, found, strict=True):
        torch.testing.assert_close(
            torch.zeros_like(mine) if theirs is None else theirs, mine, rtol=0, atol=1e-4 * scale
        )
    assert_is_the_step(before, after, gradient)


@pytest.mark.parametrize("text", TEXTS)
def test_a_step_under_each_estimator_is_the_literal_one(monkeypatch, tmp_path, seen_gradients, text):
    check(monkeypatch, tmp_path, seen_gradients, "t5", text, "none")


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_step_under_each_baseline_is_the_literal_one(monkeypatch, tmp_path, seen_gradients, baseline):
    check(monkeypatch, tmp_path, seen_gradients, "llama", "llmr", baseline)


@pytest.mark.parametrize("drawn", [(0.7, 0), (1.5, 3)])
@pytest.mark.parametrize("text", ["expected-future", "reverse-kl:1", "all-action:1"])
def test_a_step_knows_the_distribution_that_was_sampled(monkeypatch, tmp_path, seen_gradients, text, drawn):
    check(monkeypatch, tmp_path, seen_gradients, "t5", text, "own-value", drawn)


def test_a_row_that_is_added_can_be_trained_with_at_once(monkeypatch, tmp_path, seen_gradients):
    made = Estimator("own-step", lambda n: n.q, EXPECTED_RETURN, unbiased=False, needs=frozenset({"q"}))
    monkeypatch.setitem(ESTIMATORS, "own-step", EstimatorRow(lambda: made, "q_t", "this file", ("own-step",)))
    before, after, teacher, rollouts = one_step(monkeypatch, tmp_path, "t5", {"estimator": "own-step"})
    # the action's own term alone, as all K-step returns with K beyond the rollout have it
    gradient = literal_gradient(before, teacher, rollouts, "k-step:99", "none")
    assert_is_the_step(before, after, gradient)
