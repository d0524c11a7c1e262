"""What an optimiser step computes: which tokens count, how much each of them, and in which order inputs come."""

import json
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from ketchup.errors import RunError
from ketchup.files import read_jsonl
from ketchup.methods import likelihood, method
from ketchup.methods.base import Loss, Method, Part, Trajectory
from ketchup.models.loading import load
from ketchup.training import loop
from ketchup.training.checkpoints import TrainerState
from ketchup.training.loop import step_inputs, total_steps
from ketchup.training.selection import selection
from tests import tiny
from tests.training.given import fit, settings, validation_of

EOS = 1
SFT = method("sft", {})


def demonstration(prompt, tokens, mask=None):
    return Trajectory.of(prompt, tokens, mask or [True] * len(tokens))


def cross_entropy(model, batch):
    return likelihood.cross_entropy(model, None, batch).total


@pytest.fixture
def rows():
    """Answers of 1 and of 12 tokens, a micro-batch apart: a mean of means is far from the mean."""
    generator = torch.Generator().manual_seed(0)
    lengths = [12, 1, 1, 9, 2, 1, 11, 1, 1, 3, 10, 1, 2, 1, 8, 1]
    drawn = [torch.randint(2, 6, (length + 3,), generator=generator).tolist() for length in lengths]
    return [demonstration(row[: 1 + index % 3], [*row[3:-1], EOS]) for index, row in enumerate(drawn)]


def literal_log_prob(model, prompt, written, token):
    """log π(token | prompt, written), with gradient, from one plain forward pass."""
    if model.start_id is None:
        output = model.network(input_ids=torch.tensor([prompt + written]))
    else:
        decoder = torch.tensor([[model.start_id, *written]])
        output = model.network(input_ids=torch.tensor([prompt]), decoder_input_ids=decoder)
    return output.logits[0, -1, : model.vocabulary].log_softmax(-1)[token]


def literal_loss(model, row):
    """-sum of the actions' log-probabilities."""
    tokens = row.tokens.tolist()
    places = [place for place, action in enumerate(row.action_mask) if action]
    return -sum(literal_log_prob(model, row.prompt, tokens[:place], tokens[place]) for place in places)


def copy_of_weights(model):
    return {name: value.clone() for name, value in model.network.state_dict().items()}


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_cross_entropy_is_the_literal_sum_of_log_probabilities(kind, rows):
    model = tiny.language_model(kind, padding_rows=2)
    batch = rows[:5]
    with torch.no_grad():
        expected = sum(literal_loss(model, row) for row in batch).item()
        assert cross_entropy(model, batch).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_prompts_of_different_length_cost_the_same_alone_and_together(kind):
    model = tiny.language_model(kind)
    batch = [
        demonstration([2], [3, 4, EOS]),
        demonstration([5, 4, 3, 2, 2, 5, 4], [EOS]),
        demonstration([3, 3, 4], [2, 5, 4, 3, 2, EOS]),
    ]
    with torch.no_grad():
        alone = sum(cross_entropy(model, [row]).item() for row in batch)
        assert cross_entropy(model, batch).item() == pytest.approx(alone, rel=1e-5)


def test_prompt_tokens_are_read_but_not_learnt():
    """Of a decoder-only model: -log π of the answer given the prompt, and nothing else."""
    model = tiny.language_model("llama")
    with torch.no_grad():
        whole = cross_entropy(model, [demonstration([2, 3, 4], [5, EOS])]).item()
        as_answer = cross_entropy(model, [demonstration([2], [3, 4, 5, EOS])]).item()
        prompt = cross_entropy(model, [demonstration([2], [3, 4])]).item()
        other = cross_entropy(model, [demonstration([3, 3, 4], [5, EOS])]).item()
    assert whole == pytest.approx(as_answer - prompt, rel=1e-4)
    assert abs(whole - other) > 1e-3


def test_eos_counts_as_an_action_though_it_is_the_pad_as_well():
    model = tiny.language_model("llama")
    assert model.pad_id == model.eos_id == EOS
    long = demonstration([2, 3], [2, 3, 4, 5, EOS])
    short = demonstration([4], [EOS])
    with torch.no_grad():
        alone = -literal_log_prob(model, [4], [], EOS).item()
        assert alone > 0.05
        together = cross_entropy(model, [long, short]).item() - literal_loss(model, long).item()
    assert together == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_the_environments_tokens_are_read_but_not_learnt(kind):
    model = tiny.language_model(kind)
    mask = [True, False, True, True]
    row, other = (demonstration([2, 3], [2, forced, 4, EOS], mask) for forced in (3, 5))
    with torch.no_grad():
        losses = [cross_entropy(model, [one]).item() for one in (row, other)]
        assert losses[0] == pytest.approx(literal_loss(model, row).item(), rel=1e-5)
        first, second = literal_log_prob(model, [2, 3], [2], 3), literal_log_prob(model, [2, 3], [2], 5)
        every = cross_entropy(model, [demonstration([2, 3], row.tokens.tolist())]).item()
    assert abs(losses[0] - losses[1]) > 1e-3  # later tokens see it
    assert every == pytest.approx(losses[0] - first.item(), rel=1e-4)  # its own log-probability does not enter
    assert abs(first - second) > 1e-3


def test_environment_tokens_count_neither_in_validation(rows):
    model = tiny.language_model("t5")
    half = [replace(row, action_mask=torch.arange(len(row.tokens)) % 2 == 0) for row in rows]
    with torch.no_grad():
        total = sum(literal_loss(model, row) for row in half).item()
    actions = sum(row.actions for row in half)
    assert validation_of(SFT, model, half)["validation_loss"] == pytest.approx(total / actions, rel=1e-5)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_step_follows_the_mean_over_all_actions_not_a_mean_of_means(kind, rows, tmp_path, monkeypatch):
    """The gradient that the optimiser sees, against autograd by hand on the literal loss."""
    batch_size, accumulation = 2, 4
    given = settings(steps=1, batch_size=batch_size, accumulation=accumulation)
    model = tiny.language_model(kind)
    batch = [rows[index] for index in step_inputs(given, 0, len(rows))]
    literal = sum(literal_loss(model, row) for row in batch) / sum(row.actions for row in batch)
    expected = flat_gradient(literal, model)
    ordered = sorted(batch, key=lambda row: len(row.prompt) + len(row.tokens))
    micro = [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
    means = [sum(literal_loss(model, row) for row in part) / sum(row.actions for row in part) for part in micro]
    mean_of_means = flat_gradient(sum(means) / accumulation, model)

    seen = []

    class Watching(torch.optim.SGD):
        def __init__(self, parameters, **unused):
            super().__init__(parameters, lr=0.0)

        def step(self, closure=None):
            gradients = [value.grad for value in model.network.parameters() if value.grad is not None]
            seen.append(torch.cat([value.flatten() for value in gradients]).clone())

    monkeypatch.setattr(loop, "AdamW", Watching)
    fit(given, model, rows, tmp_path)
    assert len(seen) == 1
    scale = expected.abs().max()
    assert (seen[0] - expected).abs().max() < 1e-5 * scale
    assert (seen[0] - mean_of_means).abs().max() > 0.05 * scale  # or the test would not tell them apart
    _, row = read_jsonl(tmp_path / "metrics.jsonl")[0]
    assert row["loss"] == pytest.approx(literal.item(), rel=1e-5)
    assert row["grad_norm"] == pytest.approx(expected.norm().item(), rel=1e-4)


def flat_gradient(loss, model):
    gradients = torch.autograd.grad(loss, list(model.network.parameters()), allow_unused=True)
    return torch.cat([value.flatten() for value in gradients if value is not None])


def test_micro_batches_of_any_size_give_the_same_weights(rows, tmp_path):
    weights, losses = {}, {}
    for batch_size, accumulation in ((8, 1), (4, 2), (2, 4)):
        model = tiny.language_model("t5")
        before = copy_of_weights(model)
        run = tmp_path / f"{batch_size}"
        given = settings(steps=5, batch_size=batch_size, accumulation=accumulation, learning_rate=1e-3)
        # Adam divides by the root of the squared gradient; where that is rounding alone, so is the step.
        given = replace(given, max_grad_norm=1.0)
        fit(given, model, rows, run)
        weights[accumulation] = copy_of_weights(model)
        losses[accumulation] = read_jsonl(run / "metrics.jsonl")[0][-1]["loss"]
    moved = max((weights[1][name] - before[name]).abs().max().item() for name in before)
    assert moved > 1e-3
    for accumulation in (2, 4):
        gaps = [(weights[accumulation][name] - weights[1][name]).abs().max().item() for name in before]
        assert max(gaps) < 5e-6
        assert losses[accumulation] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize(("inputs", "batch_size", "accumulation"), [(10, 4, 1), (7, 3, 2), (5, 8, 2), (6, 6, 1)])
@pytest.mark.parametrize("processes", [1, 2])
def test_every_input_comes_once_an_epoch(inputs, batch_size, accumulation, processes):
    given = settings(batch_size=batch_size, accumulation=accumulation)
    size = batch_size * accumulation * processes
    epochs = 3 * size  # this many epochs are a whole number of steps
    steps = [step_inputs(given, step, inputs, processes) for step in range(epochs * inputs // size)]
    assert {len(step) for step in steps} == {size}
    drawn = [index for step in steps for index in step]
    assert Counter(drawn) == dict.fromkeys(range(inputs), epochs)
    by_epoch = [drawn[start : start + inputs] for start in range(0, len(drawn), inputs)]
    assert all(sorted(epoch) == list(range(inputs)) for epoch in by_epoch)
    assert by_epoch[0] != by_epoch[1]
    assert by_epoch[1] != by_epoch[2]


def test_the_order_follows_from_the_seed_alone():
    given = settings(batch_size=4)
    wanted = [step_inputs(given, step, 50) for step in range(30)]
    loop._permutation.cache_clear()
    assert [step_inputs(given, step, 50) for step in reversed(range(30))] == wanted[::-1]
    other = replace(given, seed=1)
    assert [step_inputs(other, step, 50) for step in range(30)] != wanted
    assert step_inputs(given, 0, 50) != [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("changes", "inputs", "processes", "steps"),
    [
        ({"steps": 7}, 1000, 1, 7),
        ({"steps": None}, 16, 1, 2),
        ({"steps": None}, 17, 1, 3),
        ({"steps": None, "epochs": 2.5}, 16, 1, 5),
        ({"steps": None, "accumulation": 2}, 32, 1, 2),
        ({"steps": None}, 32, 2, 2),
        ({"steps": None, "epochs": 0.01}, 3, 1, 1),
    ],
)
def test_steps_are_as_given_or_what_the_epochs_amount_to(changes, inputs, processes, steps):
    assert total_steps(settings(**changes), inputs, processes) == steps


@pytest.mark.parametrize("step", [1, 4])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_checkpoint(rows, tmp_path, step, value):
    model = tiny.language_model("t5")
    calls = 0

    def loss(student, teacher, batch):
        nonlocal calls
        if torch.is_grad_enabled():
            calls += 1
        return Loss(cross_entropy(student, batch) * (value if calls == step and torch.is_grad_enabled() else 1.0), {})

    given = settings(steps=6, save_every=2, eval_every=100)
    with pytest.raises(RunError, match=rf"at step {step} of .*lower --learning-rate") as caught:
        fit(given, model, rows, tmp_path, chosen=Method("sft", (Part("reference", loss),)))
    assert "\n" not in str(caught.value)
    assert all(weight.isfinite().all() for weight in model.network.parameters())
    if step == 1:
        assert not (tmp_path / "last").exists()
    else:
        assert (tmp_path / "last").resolve().name == "step-000002"
        assert (tmp_path / "last" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [  # a rise over two steps, then what the schedule is named after
        ("constant", [0.0, 0.01, 0.02, 0.02]),
        ("linear", [0.0, 0.01, 0.02, 0.01]),
        ("cosine", [0.0, 0.01, 0.02, 0.01]),  # half a cosine over two steps: (1 + cos 0) / 2, (1 + cos π/2) / 2
    ],
)
def test_logged_learning_rates_are_those_of_the_step_and_rise_first(rows, tmp_path, schedule, rates):
    given = settings(steps=4, schedule=schedule, warmup_steps=2, eval_every=1, learning_rate=0.02)
    fit(given, tiny.language_model("t5"), rows, tmp_path)
    logged = [row["lr"] for row in read_jsonl(tmp_path / "metrics.jsonl")[0][1:]]
    assert logged == pytest.approx(rates)


def test_without_a_limit_on_the_gradient_none_is_clipped(rows, tmp_path):
    given = {"free": 0.0, "wide": 1e9, "narrow": 1e-3}
    models = {name: tiny.language_model("t5") for name in given}
    for name, most in given.items():
        fit(settings(steps=2, max_grad_norm=most), models[name], rows, tmp_path / name)
    free, wide, narrow = (torch.cat([w.flatten() for w in model.network.parameters()]) for model in models.values())
    assert torch.equal(free, wide)
    assert not torch.allclose(free, narrow, atol=1e-6)


def test_weights_that_are_no_longer_finite_are_not_saved(rows, tmp_path, monkeypatch):
    """Though loss and gradient were: here it is the optimiser that goes too far, in its second step."""

    class Reckless(torch.optim.AdamW):
        steps = 0

        def step(self):
            super().step()
            self.steps += 1
            if self.steps == 2:
                with torch.no_grad():
                    self.param_groups[0]["params"][-1][0] = math.nan

    monkeypatch.setattr(loop, "AdamW", Reckless)
    given = settings(steps=3, save_every=1, eval_every=1)
    with pytest.raises(RunError, match=r"no longer finite after step 2 of .*lower --learning-rate") as caught:
        fit(given, tiny.language_model("t5"), rows, tmp_path)
    assert "\n" not in str(caught.value)
    assert [folder.name for folder in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]
    for link in ("last", "best"):
        assert (tmp_path / link).resolve().name == "step-000001"
        assert all(w.isfinite().all() for w in load(str(tmp_path / link)).network.parameters())


def test_a_type_that_cannot_hold_the_weights_is_refused_before_the_first_step(rows, tmp_path):
    model = tiny.language_model("t5")
    with torch.no_grad():
        model.network.shared.weight[0, 0] = 70_000.0  # float16 ends at 65,504
    with pytest.raises(RunError, match=r"--save-dtype float16 cannot hold .*use bfloat16 or float32"):
        fit(settings(save_dtype="float16"), model, rows, tmp_path)
    assert not (tmp_path / "last").exists()
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["sft", "llmr"])
def test_a_validation_that_is_no_number_is_never_the_best(name, value):
    chosen = method(name, {})
    field = "validation_return" if chosen.credit else "validation_loss"
    state = TrainerState(step=1)
    state.consider({field: value}, selection(None, chosen, None, ()))
    assert state.best_step is None
    state.step = 2
    state.consider({field: 3.0}, selection(None, chosen, None, ()))
    state.step = 3
    state.consider({field: value}, selection(None, chosen, None, ()))
    assert (state.best_step, state.best_value) == (2, 3.0)


def test_checkpoints_end_their_outputs_as_the_model_does(rows, tmp_path):
    given = tiny.save("llama", tmp_path / "model") / "generation_config.json"
    given.write_text(json.dumps({"eos_token_id": [1, 3], "temperature": 0.5}))  # which transformers calls invalid
    model = load(str(given.parent))
    fit(settings(steps=1), model, rows, tmp_path / "run")
    assert load(str(tmp_path / "run" / "last")).eos_ids == model.eos_ids == (1, 3)


def test_training_lowers_the_loss_on_its_rows(rows, tmp_path):
    model = tiny.language_model("t5")
    before = validation_of(SFT, model, rows)["validation_loss"]
    fit(settings(steps=15), model, rows, tmp_path)
    assert validation_of(SFT, model, rows)["validation_loss"] < 0.9 * before
