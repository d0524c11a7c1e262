"""What holds for every row of the table of methods, and each loss against its literal form."""

import inspect

import pytest
import torch

from ketchup.errors import UsageError
from ketchup.methods import METHODS, method
from ketchup.methods.base import Trajectory
from ketchup.methods.divergence_loss import DivergenceLoss
from ketchup.models import scoring
from tests import tiny

NEEDED = {"ketchup": {"k": 2}, "reinforce": {"estimator": "shrink:0.5"}}
DIVERGENCES = ("kl", "rkl", "js", "tvd", "gkd")
EOS = 1
BATCH = [
    Trajectory.of([2, 3], [4, 5, 2, EOS], [True] * 4),
    Trajectory.of([5, 4, 3, 3, 2], [3, EOS], [True] * 2),
    Trajectory.of([4], [2, 3, 3, 4, 5], [True, False, True, True, False]),  # the calculator wrote two of these
]


def models(kind):
    return tiny.language_model(kind, seed=0, padding_rows=2), tiny.language_model(kind, seed=1, padding_rows=1)


def literal_losses(name, student, teacher, batch):
    """Each token's divergence in float64 from plain forward passes, summed over the actions: one sum per part."""
    sums = [0.0, 0.0]
    for row in batch:
        for t, action in enumerate(row.action_mask):
            if action:
                p, pi = (
                    tiny.next_logits(m, row.prompt, row.tokens[:t].tolist()).softmax(-1).tolist()
                    for m in (teacher, student)
                )
                for part, value in enumerate(literal_divergence(name, p, pi)):
                    sums[part] += value
    return sums


def literal_divergence(name, p, pi):
    import math

    def kl(a, b):
        return sum(x * math.log(x / y) for x, y in zip(a, b, strict=True))

    half = [(x + y) / 2 for x, y in zip(p, pi, strict=True)]
    tilted = [0.3 * y + 0.7 * x for x, y in zip(p, pi, strict=True)]
    return {
        "kl": [kl(p, pi)],
        "rkl": [kl(pi, p)],
        "js": [kl(pi, tilted), kl(p, tilted)],  # β = 0.3
        "tvd": [sum(abs(x - y) for x, y in zip(p, pi, strict=True)) / 2] * 2,
        "gkd": [(kl(p, half) + kl(pi, half)) / 2] * 2,
    }[name]


OPTIONS = {"js": {"beta": 0.3}, "tvd": {"student_share": 0.2}, "gkd": {"student_share": 0.4}}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", DIVERGENCES)
def test_each_divergence_is_the_literal_sum_over_actions(kind, name, chunked, monkeypatch):
    if chunked:
        monkeypatch.setattr(scoring, "HEAD_BYTES", 4 * 6 * 3)
    student, teacher = models(kind)
    parts = method(name, OPTIONS.get(name, {})).parts
    expected = literal_losses(name, student, teacher, BATCH)
    found = [part.loss(student, teacher, BATCH).total.item() for part in parts]
    assert found == pytest.approx(expected[: len(parts)], rel=1e-4)


def test_parts_are_weighed_as_the_options_say():
    weights = {name: [(p.writer, p.weight) for p in method(name, OPTIONS[name]).parts] for name in OPTIONS}
    assert weights == {
        "js": [("student", 0.3), ("teacher", 0.7)],
        "tvd": [("student", 0.2), ("teacher", 0.8)],
        "gkd": [("student", 0.4), ("teacher", 0.6)],
    }
    assert [(p.writer, p.weight) for p in method("gkd", {}).parts] == [("student", 1.0)]
    assert [p.writer for p in method("tvd", {"student_share": 0}).parts] == ["teacher"]


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", DIVERGENCES)
def test_chunks_of_the_head_change_no_gradient(kind, name, monkeypatch):
    student, teacher = models(kind)

    def gradients():
        student.network.zero_grad()
        for part in method(name, {}).parts:
            part.loss(student, teacher, BATCH).total.backward()
        assert all(weight.grad is None for weight in teacher.network.parameters())
        return [weight.grad.clone() for weight in student.network.parameters() if weight.grad is not None]

    whole = gradients()
    monkeypatch.setattr(scoring, "HEAD_BYTES", 4 * 6 * 3)
    for found, expected in zip(gradients(), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert max(gradient.abs().max() for gradient in whole) > 1e-3


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_student_equal_to_its_teacher_has_nothing_to_learn(name):
    student, _ = models("t5")
    for part in method(name, {}).parts:
        loss = part.loss(student, student, BATCH).total
        assert loss.item() == pytest.approx(0, abs=1e-5)


def test_no_logits_of_all_positions_exist_at_once(monkeypatch):
    """The divergence sees a bounded number of positions at a time."""
    sizes = []

    def watching(teacher_logits, student_logits):
        sizes.append((tuple(teacher_logits.shape), tuple(student_logits.shape)))
        return (teacher_logits - student_logits).square().sum(-1)

    monkeypatch.setattr(scoring, "HEAD_BYTES", 4 * 6 * 2)
    student, teacher = models("llama")
    DivergenceLoss(watching)(student, teacher, BATCH).total.backward()
    actions = sum(row.actions for row in BATCH)
    assert {size for pair in sizes for size in pair} == {(2, 6), (1, 6)}
    assert len(sizes) == 2 * -(-actions // 2)  # once, and once more in the backward pass


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_needs_and_records_its_options(name):
    made = method(name, NEEDED.get(name, {}))
    assert made.name == name
    assert set(made.options) == set(inspect.signature(METHODS[name].build).parameters)
    assert made.parts
    assert (made.sampling is not None) == ("student" in made.writers)
    assert made.compares == (name not in {"sft", "seqkd"})
    for builder in (METHODS[name].build, inspect.getmodule(METHODS[name].build)):
        assert builder.__doc__


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nonsense", {}, "no method 'nonsense'; use one of sft, seqkd, kl"),
        ("kl", {"k": 4}, "--k is an option of ketchup, not of kl"),
        ("llmr", {"k": 4}, "--k is an option of ketchup, not of llmr"),
        ("js", {"baseline": "mean"}, "--baseline is an option of llmr, ketchup, reinforce, not of js"),
        ("ketchup", {}, "needs --k"),
        ("ketchup", {"k": 2, "estimator": "llmr"}, "--estimator is an option of reinforce, not of ketchup"),
        ("reinforce", {}, "needs --estimator"),
        ("reinforce", {"estimator": "shrnk:0.5"}, "no estimator 'shrnk'"),
        ("llmr", {"baseline": "median"}, "no baseline 'median'"),
        ("llmr", {"baseline": "leave-one-out"}, "The baseline leave-one-out compares the rollouts .*-input 2 or more"),
        ("reinforce", {"estimator": "placebo:shuffled"}, "placebo:shuffled compares the rollouts .*-input 2 or more"),
        ("reinforce", {"estimator": "soft", "clip": "step"}, "llmr and k-step sum up; soft has none, so use --clip"),
        ("ketchup", {"k": 0}, "--k must be at least 1, not 0"),
        ("llmr", {"clip_range": 0.0}, "--clip-range must be a finite number above 0"),
        ("llmr", {"samples_per_input": 0}, "--samples-per-input must be at least 1"),
        ("llmr", {"samples_per_input": 2, "temperature": 0.0}, "--temperature 0 draws the same rollout"),
        ("js", {"beta": 1.0}, "--beta must be between 0 and 1, not 1.0"),
        ("tvd", {"student_share": 1.5}, "--student-share must be from 0 to 1, not 1.5"),
    ],
)
def test_options_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        method(name, options)
