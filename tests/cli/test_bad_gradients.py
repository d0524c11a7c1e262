"""What users get wrong when they ask for gradients: one sentence that names it, the right exit code, no traceback."""

import pyarrow.parquet as pq
import pytest

from ketchup_eval.variance.gradient.of_rollouts import HeadGradients
from ketchup_eval.variance.sealed import write_sealed
from tests import tiny
from tests.cli.test_bad_input import assert_one_sentence, invoke
from tests.commands import write_data


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_data(folder / "data", test=3)
    tiny.save("t5", folder / "teacher", seed=1)
    tiny.save("t5", folder / "student", seed=2)
    return folder


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """They take most of the time."""
    for module, name in (("variance", "write_variance"), ("theory", "write_theory"), ("gradient", "write_gradient")):
        monkeypatch.setattr(f"ketchup_eval.report.{module}_figure.{name}_figure", lambda result, run: [])


def measured(folder, inputs, **options):
    """`ketchup variance --gradient` of two samples, a switch being an option with no value."""
    return invoke(
        folder, inputs, "variance", **{"gradient": [], "samples": 2, "k": [1, 2], "max_new_tokens": 3} | options
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"limit": 1}, ["takes at least 3, not 1", "larger --limit"]),
        ({"limit": 2, "dry_run": []}, ["takes at least 3, not 2"]),
        ({"samples": 1}, ["--samples must be at least 2", "one sample has no variance"]),
        ({"gradient_of": "decoder.block.0"}, ["'decoder.block.0' matches no weight", "decoder.block.0.* matches"]),
        ({"estimator": "shrin:0.5"}, ["no estimator 'shrin'; did you mean shrink:C"]),
        ({"estimator": "shrink:1.5"}, ["c of shrink must be from 0 to 1, not 1.5"]),
        ({"estimator": "discount:-0.1"}, ["γ of discount must be from 0 to 1, not -0.1"]),
        ({"estimator": "all-action:1"}, ["all-action:1 has a term over all of them; leave it out"]),
        ({"baseline": "leave-one-ou"}, ["did you mean leave-one-out"]),
        ({"projection": 0}, ["--projection must be at least 64", "not 0"]),
        ({"projection": -5}, ["--projection must be at least 64", "not -5"]),
        ({"batch": 0}, ["--batch must be at least 1, not 0"]),
        ({"temperature": 0.5}, ["leave out --temperature"]),
    ],
)
def test_options(tmp_path, inputs, options, named):
    assert_one_sentence(measured(tmp_path, inputs, **options), 2, *named)
    assert not (tmp_path / "runs").exists()


def test_too_little_memory(tmp_path, inputs, monkeypatch):
    monkeypatch.setattr("ketchup_eval.variance.gradient.of_rollouts.free_bytes", lambda device: 1000)
    result = measured(tmp_path, inputs)
    assert_one_sentence(result, 1, "The gradients of 3 inputs for ", " GB and 0.0 GB are free", "smaller --limit")
    assert not list(tmp_path.rglob("part-*.parquet"))


def test_a_row_that_needs_what_rollouts_lack(tmp_path, inputs):
    """Rollouts that were stored before Ē and Σπ² were kept; rows that need neither are measured."""
    assert measured(tmp_path, inputs, estimator="shrink:0.5").exit_code == 0
    part = next(tmp_path.rglob("rollouts/*/part-00000.parquet"))
    old = pq.read_table(part).drop_columns(["own_value", "collision"])
    write_sealed(part, old)
    for options, who in (
        ({}, "expected-future"),
        ({"estimator": "shrink:0.5", "baseline": "own-value"}, "the baseline own-value"),
        ({"estimator": "shrink:0.5", "baseline": "min-variance"}, "the baseline min-variance"),
    ):
        result = measured(tmp_path, inputs, **options)
        assert_one_sentence(result, 1, part, f"kept, which {who} needs", "delete this file", f"or leave {who} out")
    assert measured(tmp_path, inputs, estimator="shrink:0.5").exit_code == 0


def test_gradients_that_are_not_finite(tmp_path, inputs, monkeypatch):
    own = HeadGradients.of
    monkeypatch.setattr(HeadGradients, "of", lambda *given: tuple(x * float("inf") for x in own(*given)))
    result = measured(tmp_path, inputs, estimator="shrink:0.5")
    assert_one_sentence(result, 1, "The gradient of ", "gsm8k-test-0 is not finite", "leave that input out")
    assert not list(tmp_path.rglob("gradients/**/part-*.parquet"))


def test_the_same_row_twice_is_one(tmp_path, inputs):
    twice = measured(tmp_path, inputs, estimator=["shrink:0.5", "shrink:.50"], baseline=["none", "none"])
    assert twice.exit_code == 0
    assert twice.stdout.count("shrink:0.5 ") == 2  # in the table of returns, and in that of gradients


def test_a_k_beyond_every_rollout(tmp_path, inputs):
    result = measured(tmp_path, inputs, k=[1, 64])
    assert result.exit_code == 0
    assert "no rollout has more than 3 actions, so that K = 64 gives the first action's own term alone" in result.stdout
