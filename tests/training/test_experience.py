"""Fresh rollouts: from the weights of the moment, weighed as the method says, the same for every split of the work."""

from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import pytest
import torch

from ketchup.files import read_jsonl
from ketchup.methods import method
from ketchup.methods.base import Sampling, Trajectory
from ketchup.phases import Phases
from ketchup.processes import Processes
from ketchup.training import loop
from ketchup.training.experience import Measures, Student, step_trajectories
from ketchup.training.weights import StudentWeights
from tests import reference, tiny
from tests.rollouts.test_engines import assert_drawn_from
from tests.training.given import TASK, fit, inputs_of, settings

PROMPTS = [[2, 3, 4], [5], [3, 3], [4, 2, 5, 5], [2, 2], [5, 4, 3], [4], [3, 5]]
ROWS = [Trajectory.of(prompt, [2, 3, 1][index % 3 :], [True] * (3 - index % 3)) for index, prompt in enumerate(PROMPTS)]
METHODS = {
    "kl": {},
    "rkl": {"temperature": 0.0},
    "js": {"temperature": 0.0},
    "tvd": {"temperature": 0.0},
    "gkd": {"temperature": 0.0, "student_share": 0.5},
    "llmr": {"temperature": 0.0, "baseline": "min-variance"},
    "ketchup": {"temperature": 0.0, "k": 2, "baseline": "mean-per-step"},
}


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("engine", ["ctranslate2", "transformers"])
def test_rollouts_come_from_the_updated_student(kind, engine):
    model, limit = tiny.language_model(kind), 3
    student = Student(StudentWeights(model), replace(TASK, max_new_tokens=limit), engine, Phases())
    inputs = inputs_of([Trajectory.of([2, 3, 4], [1], [True])])
    before = tiny.sequence_probabilities(model, [2, 3, 4], limit)
    drawn = student.draw(inputs, Sampling(1500), seed=0)
    assert_drawn_from([row[mask].tolist() for row, mask in zip(drawn.tokens, drawn.token_mask, strict=True)], before)
    with torch.no_grad():  # a step of training
        for weight in model.network.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(weight.shape))))
    student.weights_changed()
    after = tiny.sequence_probabilities(model, [2, 3, 4], limit)
    assert sum(abs(after[row] - before.get(row, 0)) for row in after) > 0.2
    drawn = student.draw(inputs, Sampling(1500), seed=1)
    assert_drawn_from([row[mask].tolist() for row, mask in zip(drawn.tokens, drawn.token_mask, strict=True)], after)


def test_the_loop_hands_over_the_weights_after_each_update(tmp_path, monkeypatch):
    """Every draw of a step is made with the weights that the step before left."""
    model, teacher = tiny.language_model("t5"), tiny.language_model("t5", seed=1)
    seen = []

    def watching(student, *arguments):
        seen.append((student._stale, next(student.model.network.parameters()).detach().clone()))
        return draw(student, *arguments)

    draw = Student.draw
    monkeypatch.setattr(Student, "draw", watching)
    fit(settings("llmr", steps=3, eval_every=10), model, ROWS, tmp_path, teacher=teacher)
    assert [stale for stale, _ in seen] == [True, False, True, True, True]  # validation, steps 1 to 3, validation
    assert all(not torch.equal(a, b) for (_, a), (_, b) in pairwise(seen[1:]))


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_trajectories_carry_the_literal_weights(kind):
    model, teacher = tiny.language_model(kind), tiny.language_model(kind, seed=1)
    chosen = method("ketchup", {"k": 2, "samples_per_input": 3, "clip_range": 2.0})
    measures = Measures()
    student = Student(StudentWeights(model), TASK, "auto", Phases())
    rows = step_trajectories(chosen, student, teacher, inputs_of(ROWS), 5, Processes("float32"), measures)["student"]
    assert len(rows) == 3 * len(PROMPTS)
    returns, estimates = [], []
    for index, row in enumerate(rows):
        assert row.prompt == PROMPTS[index // 3]
        tokens = row.tokens.tolist()
        logits = [tiny.next_logits(teacher, row.prompt, tokens[:t]) for t in range(len(tokens))]
        q = [x[a].item() for x, a in zip(logits, tokens, strict=True)]
        g = reference.algorithm_1(q, [x.max().item() for x in logits], 2)
        assert row.weights.tolist() == pytest.approx([max(-2.0, min(2.0, x)) for x in g], abs=1e-4)
        log_p = [x.log_softmax(-1)[a].item() for x, a in zip(logits, tokens, strict=True)]
        assert row.teacher_log_probs.tolist() == pytest.approx(log_p, abs=1e-4)
        returns.append(reference.reward_to_go(q, [x.max().item() for x in logits])[0])
        estimates += g
    means = measures.means(Processes("float32"))
    actions = sum(row.actions for row in rows)
    assert means["return"] == pytest.approx(sum(returns) / len(returns), abs=1e-4)
    assert means["return_estimate"] == pytest.approx(sum(estimates) / actions, abs=1e-4)
    assert means["clipped"] == pytest.approx(sum(abs(x) > 2 for x in estimates) / actions)
    assert means["length"] == pytest.approx(actions / len(rows))
    assert means["ended"] == pytest.approx(sum(row.tokens[-1] == 1 for row in rows) / len(rows))


@pytest.mark.parametrize(("temperature", "top_k"), [(0.5, 0), (1.5, 2)])
def test_the_min_variance_baseline_weighs_by_the_norms_of_what_was_sampled(temperature, top_k):
    """b = Σ ‖∇ log π‖² G / Σ ‖∇ log π‖² with autograd's norms of log softmax(z / τ) within the top k, at z."""
    model, teacher = tiny.language_model("t5"), tiny.language_model("t5", seed=1)
    options = {"samples_per_input": 3, "temperature": temperature, "top_k": top_k, "clip": "none"}
    student = Student(StudentWeights(model), TASK, "auto", Phases())
    weighed, plain = (
        step_trajectories(
            method("llmr", {**options, "baseline": baseline}),
            student, teacher, inputs_of(ROWS), 5, Processes("float32"), Measures(),
        )["student"]
        for baseline in ("min-variance", "none")
    )  # fmt: skip
    norms, returns = [], []
    for row in plain:
        for place, action in enumerate(row.tokens.tolist()):
            logits = tiny.next_logits(model, row.prompt, row.tokens[:place].tolist()).detach().requires_grad_()
            kept = {*logits.topk(top_k or len(logits)).indices.tolist(), action}
            outside = torch.tensor([0.0 if a in kept else -torch.inf for a in range(len(logits))])
            (gradient,) = torch.autograd.grad((logits / temperature + outside).log_softmax(-1)[action], logits)
            norms.append(gradient.square().sum().item())
        returns += row.weights.tolist()
    expected = sum(n * g for n, g in zip(norms, returns, strict=True)) / sum(norms)
    found = torch.cat([one.weights - other.weights for one, other in zip(plain, weighed, strict=True)])
    assert found.tolist() == pytest.approx([expected] * len(found), abs=1e-4)


def test_truncated_rollouts_are_dropped_on_request(tmp_path):
    model, teacher = tiny.language_model("t5"), tiny.language_model("t5", seed=1)
    chosen = method("llmr", {"truncation": "drop"})
    student = Student(StudentWeights(model), TASK, "auto", Phases())
    measures, processes = Measures(), Processes("float32")
    rows = step_trajectories(chosen, student, teacher, inputs_of(ROWS * 4), 1, processes, measures)["student"]
    assert 0 < len(rows) < 4 * len(PROMPTS)
    assert all(row.tokens[-1] == 1 for row in rows)
    assert len(rows) / (4 * len(PROMPTS)) == pytest.approx(measures.means(processes)["ended"])


def test_a_step_without_anything_to_learn_changes_nothing_and_has_no_loss(tmp_path):
    model, teacher = tiny.language_model("t5"), tiny.language_model("t5", seed=1)
    with torch.no_grad():
        model.network.get_output_embeddings().weight[1] = 0
        model.network.shared.weight[1] = 0
    never = settings("llmr", options={"truncation": "drop", "temperature": 0.0}, steps=2, eval_every=10)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    fit(never, model, ROWS, tmp_path, teacher=teacher)
    rows = read_jsonl(tmp_path / "metrics.jsonl")[0]
    assert all(row["ended"] == 0 for row in rows[1:])
    assert all("loss" not in row for row in rows[1:])
    assert all(torch.equal(before[name], value) for name, value in model.network.state_dict().items())


@pytest.mark.parametrize("normalization", ["tokens", "sequence"])
@pytest.mark.parametrize("name", METHODS)
def test_micro_batches_of_any_size_give_the_same_gradient(name, normalization, tmp_path, monkeypatch):
    """Greedy rollouts, so that nothing but the splitting differs."""
    found = {}
    for batch_size, accumulation in ((8, 1), (2, 4)):
        model, teacher = tiny.language_model("t5"), tiny.language_model("t5", seed=1)
        given = settings(
            name,
            options=METHODS[name],
            steps=1,
            batch_size=batch_size,
            accumulation=accumulation,
            normalization=normalization,
        )
        monkeypatch.setattr(loop, "AdamW", Recording)
        Recording.seen.clear()
        fit(given, model, ROWS, tmp_path / str(batch_size), teacher=teacher)
        (found[batch_size],) = Recording.seen
    assert found[8].abs().max() > 1e-4
    assert (found[8] - found[2]).abs().max() < 1e-5 * found[8].abs().max()


class Recording(torch.optim.SGD):
    """Keeps the gradient it is given and moves nothing."""

    seen: ClassVar[list[torch.Tensor]] = []

    def __init__(self, parameters, **unused):
        super().__init__(parameters, lr=0.0)

    def step(self, closure=None):
        gradients = [value.grad for value in self.param_groups[0]["params"] if value.grad is not None]
        self.seen.append(torch.cat([value.flatten() for value in gradients]).clone())


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_comes_nearer_to_its_teacher(name, kind, tmp_path):
    """A student that is its teacher but for noise; lower KL on its own rollouts, or more return."""
    teacher = tiny.language_model(kind, seed=1)
    model = tiny.language_model(kind, seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.add_(0.15 * torch.randn(weight.shape, generator=generator))
    options = {key: value for key, value in METHODS[name].items() if key != "temperature"}
    given = settings(name, options=options, steps=12, learning_rate=1e-2, eval_every=12, max_grad_norm=1.0)
    fit(given, model, ROWS * 4, tmp_path, teacher=teacher, validation=ROWS * 4)
    first, *_, last = read_jsonl(tmp_path / "metrics.jsonl")[0]
    if name in {"llmr", "ketchup"}:
        assert last["validation_return"] > first["validation_return"] + 0.1
    else:
        assert last["validation_kl"] < 0.9 * first["validation_kl"]
    assert {"sample", "teacher", "student", "optimiser", "other"} == last["seconds"].keys()
