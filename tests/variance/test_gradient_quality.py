"""What is said of gradients, against exact ones: all outputs of a tiny model listed with their probabilities."""

import numpy as np
import pytest
import torch

from ketchup.errors import UsageError
from ketchup.estimators import Numbers, estimator
from ketchup.models.scoring import score
from ketchup.rollouts.transformers_engine import TransformersEngine
from ketchup.rollouts.types import Decoding
from ketchup_eval.variance.gradient.of_rollouts import HeadGradients, InputRollouts
from ketchup_eval.variance.gradient.quality import Measured, qualities, recommendation
from ketchup_eval.variance.gradient.rows import GradientRows, rows_of
from tests import tiny

PROMPTS = ([2, 3], [4], [5, 2, 3])
LIMIT, INPUTS, SAMPLES, BATCH = 2, 100, 4, 64
NAMES = ("k-step:2", "shrink:0.5", "reverse-kl:0", "placebo:constant")


def given(models, prompt, rows, weights):
    """The rollouts of an input with the weights of all rows, [M, N, T]."""
    teacher, student = models
    width = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.arange(width) < torch.tensor([len(row) for row in rows])[:, None]
    values = score(teacher, student, [prompt], tokens, mask)
    both = {name: x.double() for part in values for name, x in vars(part).items()}
    numbers = Numbers.of(mask, len(rows), **both)
    return InputRollouts(prompt, rows, [[True] * len(row) for row in rows]), weights.weights(
        list(weights.measured), numbers
    )


@pytest.fixture(scope="module")
def models():
    return tiny.language_model("llama", seed=1), tiny.language_model("llama", seed=2)


@pytest.fixture(scope="module")
def weights():
    return GradientRows(rows_of([estimator(name) for name in NAMES], ["none"]), "raw")


@pytest.fixture(scope="module")
def exact(models, weights):
    """E g [D] and E‖g‖² of each row, prompts equally likely; targets without baseline, as none changes their mean."""
    _, student = models
    where = HeadGradients(student, 0)
    means, squares = 0.0, 0.0
    for prompt in PROMPTS:
        listed = tiny.sequence_probabilities(student, prompt, LIMIT)
        for output, probability in listed.items():
            rollouts, own = given(models, prompt, [list(output)], weights)
            mean, square = where.of(rollouts, own)
            means = means + probability / len(PROMPTS) * mean
            squares = squares + probability / len(PROMPTS) * square
    names = list(weights.measured)
    return dict(zip(names, means.numpy(), strict=True)), dict(zip(names, squares.numpy(), strict=True))


@pytest.fixture(scope="module")
def measured(models, weights):
    _, student = models
    where, runner = HeadGradients(student, 0), TransformersEngine(student)
    random = np.random.default_rng(0)
    chosen = [PROMPTS[index] for index in random.integers(len(PROMPTS), size=INPUTS)]
    drawn = runner.sample(chosen, None, SAMPLES, Decoding(LIMIT), 5).rows
    found = []
    for index, prompt in enumerate(chosen):
        rollouts, own = given(models, prompt, drawn[index * SAMPLES : (index + 1) * SAMPLES], weights)
        found.append(where.of(rollouts, own))
    means, squares = (np.stack([pair[place].numpy() for pair in found], axis=1) for place in (0, 1))
    names = list(weights.measured)
    return Measured(weights, dict(zip(names, means, strict=True)), dict(zip(names, squares, strict=True)))


@pytest.fixture(scope="module")
def rows(measured):
    return qualities(measured, BATCH)


def test_measured_values_are_those_of_all_outputs(measured, exact, rows):
    """Each within four standard errors, which an interval of 95% spans by half."""
    mean, square = exact
    aim = mean[measured.rows.aim("expected-return")]
    assert [row.objective for row in rows] == ["expected-return"] * 3 + ["state-kl", "none"]
    checked = 0
    for row in rows:
        g, own = mean[row.estimator], mean[measured.rows.aim(row.objective)]
        norm = float(g @ g)
        noise = square[row.estimator] - norm
        truth = {"squared_norm": norm, "noise": noise}
        if row.objective != "none":
            between = float(g @ own) / np.sqrt(norm * float(own @ own))
            truth |= {"signal_to_noise": norm / noise, "noise_scale": noise / norm, "cosine": between}
            truth["cosine_to_return"] = float(g @ aim) / np.sqrt(norm * float(aim @ aim))
            batch = row.batch_cosine[BATCH]
            assert abs(batch.value - between / np.sqrt(1 + noise / norm / BATCH)) < batch.high - batch.low
        for name, expected in truth.items():
            one = getattr(row, name)
            assert abs(one.value - expected) <= (one.high - one.low), (row.estimator, name)
            checked += 1
    assert checked == 2 * 5 + 4 * 4


def test_bias_is_that_of_the_row(measured, exact, rows):
    """None for LLMR and reverse-kl:0; for K = 2 what enumeration says."""
    mean, _ = exact
    aim = mean[measured.rows.aim("expected-return")]
    for place in (1, 2):
        expected = np.linalg.norm(mean[rows[place].estimator] - aim) / np.linalg.norm(aim)
        found = rows[place].relative_bias
        assert expected > 0.05
        assert abs(found.value - expected) < found.high - found.low
    assert rows[0].relative_bias.value == rows[3].relative_bias.value == 0


def test_a_placebo_has_no_direction(exact, measured, rows):
    mean, _ = exact
    row = rows[-1]
    assert np.abs(mean[row.estimator]).max() < 1e-6
    assert row.squared_norm.low < 0 < row.squared_norm.high
    assert row.cosine.value is None


def test_the_recommendation_is_the_best_and_says_what_is_not_told_apart(measured, rows):
    advice = recommendation(measured, rows, BATCH)
    of_return = [row for row in rows if row.objective == "expected-return"]
    assert advice.best == max(of_return, key=lambda row: row.batch_cosine[BATCH].value).estimator
    assert set(advice.undecided) < {row.estimator for row in of_return}
    assert advice.best not in advice.undecided
    best = next(row for row in measured.rows.asked if measured.name(row) == advice.best)
    tail = f" ({best.estimator.tail} tail)" if best.estimator.tail else ""
    assert f"{best.estimator.name}{tail} with the baseline {best.baseline.name} points best" in advice.sentence
    worth = {row.estimator: row.worth.value for row in of_return}
    assert worth["llmr|gauge:raw|baseline:none"] == pytest.approx(1)


def test_where_the_true_gradient_is_only_noise_nothing_is_recommended(measured):
    random = np.random.default_rng(0)
    means = {name: random.normal(size=values.shape) for name, values in measured.means.items()}
    squares = {name: (values**2).sum(1) * SAMPLES for name, values in means.items()}
    noise = Measured(measured.rows, means, squares)
    assert recommendation(noise, qualities(noise, BATCH), BATCH) is None


def test_rows_are_each_there_once_and_llmr_first():
    rows = rows_of([estimator("k-step:1"), estimator("llmr"), estimator("k-step:4")], ["none", "mean", "none"])
    assert [(row.estimator.name, row.baseline.name) for row in rows] == [
        ("llmr", "none"), ("llmr", "mean"), ("k-step:4", "none"), ("k-step:4", "mean")
    ]  # fmt: skip
    with pytest.raises(UsageError, match="all-action"):
        rows_of([estimator("all-action:1")], ["none"])
