"""Rollouts drawn from another policy than the one that is scored: what is said of it, and what makes up for it.

Mismatches are planted. Exact values come from enumeration: of a tabular world, and of all outputs of a tiny model.
"""

import json
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from ketchup.estimators import NUMBERS, Numbers, estimator
from ketchup.maths.importance import log_ratios, truncated_ratios
from ketchup.maths.tabular import random_world
from ketchup.rollouts import fill
from ketchup.rollouts.engines import Choice
from ketchup.rollouts.transformers_engine import TransformersEngine
from ketchup_eval.cli import app
from ketchup_eval.stats.intervals import means, ratios
from ketchup_eval.variance.lengths import length_variances
from ketchup_eval.variance.per_input import PerInput
from tests import reference, tiny

INPUTS, SAMPLES = 200, 256
ROWS = ("k-step:2", "k-step:3", "shrink:0.5")


def moved(world, by, seed):
    generator = torch.Generator().manual_seed(seed)
    noise = {state: (by * torch.randn(world.vocabulary, generator=generator)).tolist() for state in world.states}
    return replace(world, student={s: [x + y for x, y in zip(world.student[s], noise[s], strict=True)] for s in noise})


@pytest.fixture(scope="module")
def student():
    return random_world(3)


@pytest.fixture(scope="module")
def drawn(student):
    """Rollouts of a policy that is not the student, as the student's: their numbers and log w [I, N]."""
    sampler = moved(student, 0.3, seed=8)
    samples = sampler.sample(INPUTS * SAMPLES, torch.Generator().manual_seed(1))
    numbers = Numbers(samples.mask, SAMPLES, **student.known(samples))
    ratios_of = log_ratios(numbers.log_prob, sampler.known(samples)["log_prob"], samples.mask)
    return numbers, ratios_of.view(INPUTS, SAMPLES)


def of_study(drawn, weights):
    return PerInput([estimator(row) for row in ROWS], "raw")(drawn[0], weights)


def exact(student, row, quantity):
    """From the definition of each row, in an enumerated world."""
    of_rollout = {
        name: partial(lambda k, r: reference.k_step_returns(*student.values(r), k, "segment"), k)
        for k, name in enumerate(("llmr", "k-step:2", "k-step:3"), start=1)
    }
    returns, full = of_rollout[row], of_rollout["llmr"]
    survival = [student.survival(t) for t in range(student.horizon)]

    def over_actions(at):
        return sum(s * at(t) for t, s in enumerate(survival)) / sum(survival)

    variance = lambda t: student.central_moment(lambda r: returns(r)[t], t=t)  # noqa: E731
    bias = lambda t: student.expectation(lambda r: returns(r)[t] - full(r)[t], t=t)  # noqa: E731
    return {
        "variance": lambda: variance(0),
        "bias": lambda: bias(0),
        "mse": lambda: variance(0) + bias(0) ** 2,
        "variance_mean_t": lambda: over_actions(variance),
        "bias_mean_t": lambda: over_actions(bias),
    }[quantity]()


def holds(estimate, value):
    return estimate.low <= value <= estimate.high


def test_corrected_estimates_are_those_of_the_scored_policy_and_others_are_not(student, drawn):
    """Fourteen intervals of 95%, correlated; each holds the exact value or misses it by less than its own width."""
    weights = truncated_ratios(drawn[1], SAMPLES)
    corrected, plain = (of_study(drawn, weights), of_study(drawn, None))
    hits, misses = [], []
    for column, row in enumerate(("llmr", "k-step:2", "k-step:3")):
        for quantity in ("variance", "bias", "mse", "variance_mean_t", "bias_mean_t"):
            if row == "llmr" and "bias" in quantity:
                continue
            value = exact(student, row, quantity)
            (found,), (other,) = (means(getattr(s, quantity)[:, [column]]) for s in (corrected, plain))
            hits.append(holds(found, value))
            misses.append(not holds(other, value))
            assert abs(found.value - value) < found.high - found.low, (row, quantity)
    assert sum(hits) >= len(hits) - 1
    assert sum(misses) >= len(misses) - 2


def test_equal_weights_change_nothing(drawn):
    """Every statistic, as far as rounding goes; of any size, since they are relative within an input."""
    plain, equal = of_study(drawn, None), of_study(drawn, torch.full_like(drawn[1], 3.0))
    for field in fields(plain):
        if field.name != "estimators":
            one, other = getattr(plain, field.name), getattr(equal, field.name)
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    generator = np.random.default_rng(0)
    returns, lengths = generator.normal(size=(5, 8)), generator.integers(0, 6, size=(5, 8))
    np.testing.assert_allclose(
        length_variances(returns, lengths), length_variances(returns, lengths, np.full((5, 8), 0.2)), rtol=1e-9
    )


def test_a_weight_counts_in_means_as_so_many_rollouts(drawn):
    """Weights of 0, 1 and 2 against the same rollouts left out, and twice there."""
    numbers, _ = drawn
    mask, take = numbers.mask[:6], torch.tensor([0, 1, 1, 3, 4, 4])
    known = {name: getattr(numbers, name) for name in NUMBERS}
    small, repeated = (
        Numbers(numbers.mask[at], 6, **{name: x[at] for name, x in known.items()}) for at in (torch.arange(6), take)
    )
    assert mask.any(1).all()
    rows = [estimator(row) for row in ROWS]
    weighted = PerInput(rows, "raw")(small, torch.tensor([[1.0, 2.0, 0.0, 1.0, 2.0, 0.0]], dtype=torch.float64))
    plain = PerInput(rows, "raw")(repeated)
    for name in ("bias", "terms"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(plain, name), rtol=1e-9, atol=1e-12)
    # Deviations are the same too, but a rollout that is there twice is no second draw.
    np.testing.assert_allclose(weighted.variance * (6 - 10 / 6), plain.variance * 5, rtol=1e-9)
    np.testing.assert_allclose(
        weighted.positions + weighted.states + weighted.steps + weighted.lengths, weighted.variance, rtol=1e-9
    )


def test_lengths_explain_as_much_under_weights_that_mean_nothing():
    """Unbiased for weights drawn apart from the rollouts: G = 2 T + noise, so that 4 Var[T] of it are the length's."""
    generator = np.random.default_rng(1)
    lengths = generator.integers(1, 5, size=(4000, 8))
    returns = 2 * lengths + generator.normal(size=lengths.shape)
    found = means(length_variances(returns, lengths, generator.exponential(size=lengths.shape)))
    assert holds(found[0], 4 * 1.25)
    assert holds(found[1], 4 * 1.25 + 1)
    assert holds(ratios(*length_variances(returns, lengths).T[:, :, None])[0], 5 / 6)


# A study, from the command


LIMIT = 3
STUDY_INPUTS, STUDY_SAMPLES = 24, 64


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Inputs that are alike, so that intervals over them are those of the drawing."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "data").mkdir()
    row = json.dumps({"question": "abcd", "answer": "a"}) + "\n"
    (folder / "data/test.jsonl").write_text(row * STUDY_INPUTS)
    tiny.save("t5", folder / "teacher", seed=1)
    tiny.save("t5", folder / "student", seed=2)
    return folder


@pytest.fixture
def mismatched(monkeypatch):
    """An engine that draws from weights that are a little off."""

    def other(name, model):
        return Choice(TransformersEngine(tiny.a_little_off(model)), "planted")

    monkeypatch.setattr(fill, "choose", other)


def study(folder, inputs, *more):
    given = ["variance", "--teacher", inputs / "teacher", "--student", inputs / "student", "--task", "gsm8k"]
    given += ["--data", inputs / "data", "--samples", STUDY_SAMPLES, "--max-new-tokens", LIMIT, "--k", 1, 2]
    given += ["--threads", 1, "--runs-dir", folder / "runs", "--name", "run", *more]
    return CliRunner().invoke(app, [str(word) for word in given])


def result(folder):
    content = json.loads((folder / "runs/run/variance.json").read_text())
    return content, content["students"][0]


def exact_moments(inputs, folder):
    """Mean and variance of G_0 and the mean length, over all outputs of the student, each with its probability."""
    from ketchup.models.loading import load

    teacher, student = (load(str(inputs / name)) for name in ("teacher", "student"))
    from ketchup.models.prompts import prompt_ids
    from ketchup.tasks import task_named
    from ketchup.tasks.base import Input

    prompt = prompt_ids(student, task_named("gsm8k"), Input("x", "abcd", "a"), "source", [])
    total = []
    for output, probability in tiny.sequence_probabilities(student, prompt, LIMIT).items():
        logits = [tiny.next_logits(teacher, prompt, list(output[:t])).tolist() for t in range(len(output))]
        advantages = [row[a] - max(row) for row, a in zip(logits, output, strict=True)]
        total.append((probability, max(logits[0]) + sum(advantages), len(output)))
    mean = sum(p * g for p, g, _ in total)
    return mean, sum(p * (g - mean) ** 2 for p, g, _ in total), sum(p * n for p, _, n in total)


def inside(number, value, widths=1.0):
    middle, half = (number["low"] + number["high"]) / 2, (number["high"] - number["low"]) / 2
    return abs(value - middle) <= widths * half


def test_a_planted_mismatch_is_measured_warned_of_and_corrected(tmp_path, inputs, mismatched):
    done = study(tmp_path, inputs)
    assert done.exit_code == 0, done.output
    content, plain = result(tmp_path)
    gap = plain["sampler"]
    assert content["correct_sampler"] is False
    assert gap["corrected"] is False
    assert gap["mean_absolute"]["value"] > 0.05
    assert 0 < gap["kl"]["low"] < gap["kl"]["value"]
    assert gap["effective_share"]["high"] < 0.95
    assert {number["n"] for number in gap.values() if isinstance(number, dict)} == {STUDY_INPUTS}
    said = " ".join(done.stdout.split())
    assert "this may move an input's mean return by more than a fifth" in said
    assert "Use --correct-sampler" in said
    again = study(tmp_path, inputs, "--correct-sampler")  # the same rollouts
    assert again.exit_code == 0, again.output
    content, corrected = result(tmp_path)
    assert content["correct_sampler"] is True
    assert corrected["sampler"] == {**gap, "corrected": True}
    assert "each weighted by its ratio" in " ".join(again.stdout.split())
    mean, variance, length = exact_moments(inputs, tmp_path)
    for found, value in (
        (lambda s: s["mean_return"], mean),
        (lambda s: s["mean_length"], length),
        (lambda s: s["estimates"][0]["variance"], variance),
    ):
        assert inside(found(corrected), value, 1.5)
    assert not inside(plain["mean_return"], mean, 1.5)


def test_without_a_mismatch_the_gap_is_rounding_and_nothing_is_said(tmp_path, inputs):
    done = study(tmp_path, inputs, "--engine", "ctranslate2", "--limit", 4)
    assert done.exit_code == 0, done.output
    gap = result(tmp_path)[1]["sampler"]
    assert gap["mean_absolute"]["value"] < 1e-5
    assert gap["effective_share"]["value"] == pytest.approx(1, abs=1e-6)
    assert "drawn from a distribution" not in done.stdout


def test_int8_is_another_policy_and_a_run_of_its_own(tmp_path, inputs):
    done = study(tmp_path, inputs, "--engine", "ctranslate2:int8", "--limit", 4)
    assert done.exit_code == 0, done.output
    gap = result(tmp_path)[1]["sampler"]
    assert 1e-4 < gap["mean_absolute"]["value"] < 1
    manifest = json.loads((tmp_path / "runs/run/manifest.json").read_text())
    assert manifest["settings"]["engine"] == "ctranslate2:int8"
    other = study(tmp_path, inputs, "--engine", "ctranslate2", "--limit", 4)
    assert other.exit_code == 1
    assert 'engine was "ctranslate2:int8" and is now "ctranslate2"' in other.stderr


def test_what_is_not_told_is_absent_and_cannot_be_corrected(tmp_path, inputs):
    narrow = ("--engine", "ctranslate2", "--top-k", 3, "--limit", 4)
    refused = study(tmp_path, inputs, *narrow, "--correct-sampler")
    assert refused.exit_code == 2
    assert "ctranslate2 does not tell them with --temperature or --top-k" in " ".join(refused.stderr.split())
    assert not list(tmp_path.rglob("part-*.parquet"))
    done = study(tmp_path, inputs, *narrow)
    assert done.exit_code == 0, done.output
    assert result(tmp_path)[1]["sampler"] is None
    (part,) = tmp_path.rglob("part-*.parquet")
    assert "sampler_log_prob" not in pq.read_schema(part).names
    late = study(tmp_path, inputs, *narrow, "--correct-sampler")
    assert late.exit_code == 1
    assert "has no log-probabilities of the engine that drew" in " ".join(late.stderr.split())
    assert part.exists()


def test_gradients_are_not_weighed(tmp_path, inputs):
    done = study(tmp_path, inputs, "--gradient", "--correct-sampler")
    assert done.exit_code == 2
    assert "leave out --gradient" in done.stderr
