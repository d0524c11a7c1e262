import math

import numpy as np
import pytest

from ketchup_eval.stats import bootstrap
from ketchup_eval.stats.bootstrap import Bootstrap, Estimate


def literal_means(column, seed, resamples):
    """One resample after the other: draw the inputs, take the mean of those that have the quantity."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = [column[i] for i in generator.integers(len(column), size=len(column))]
        present = [x for x in drawn if not math.isnan(x)]
        found.append(sum(present) / len(present) if present else math.nan)
    return found


@pytest.fixture
def values():
    """Two skewed columns that depend on each other; the second is absent for one input in five."""
    generator = np.random.default_rng(3)
    first = generator.exponential(size=30)
    second = first + generator.exponential(size=30)
    second[::5] = np.nan
    return np.stack([first, second], axis=1)


def test_means_agree_with_a_literal_loop(values):
    found = Bootstrap(30, seed=8, resamples=200).resampled_means(values)
    for column, means in zip(values.T, found.T, strict=True):
        assert means.tolist() == pytest.approx(literal_means(column.tolist(), seed=8, resamples=200))


def test_blocks_do_not_show(values, monkeypatch):
    whole = Bootstrap(30, seed=1, resamples=50).resampled_means(values)
    monkeypatch.setattr(bootstrap, "BLOCK_ENTRIES", 30 * 7)
    np.testing.assert_allclose(Bootstrap(30, seed=1, resamples=50).resampled_means(values), whole, rtol=1e-12)


def test_the_seed_decides_and_nothing_else(values):
    np.random.seed(0)
    first = Bootstrap(30, seed=1, resamples=50)
    np.random.seed(1)
    again = Bootstrap(30, seed=1, resamples=50)
    np.testing.assert_array_equal(first.resampled_means(values), first.resampled_means(values))
    np.testing.assert_array_equal(first.resampled_means(values), again.resampled_means(values))
    assert (first.resampled_means(values) != Bootstrap(30, seed=2, resamples=50).resampled_means(values)).any()


def test_equal_columns_are_resampled_equally():
    # Columns of several sizes and layouts: rounding must be the same, so that a system does not differ from itself.
    values = np.random.default_rng(1).lognormal(3, 2, size=(1001, 13))
    values[17, 4] = np.nan
    found = Bootstrap(1001, seed=0, resamples=100).resampled_means(np.concatenate([values, values], axis=1))
    np.testing.assert_array_equal(found[:, :13], found[:, 13:])


def test_a_resample_without_the_quantity_has_none():
    # Two inputs of three have it, so one resample in 27 has none of them.
    found = Bootstrap(3, seed=0, resamples=2000).resampled_means(np.array([[1.0], [2.0], [np.nan]]))
    assert np.isnan(found).mean() == pytest.approx(1 / 27, abs=0.02)


def test_an_estimate_in_another_unit():
    assert Estimate(0.5, 0.25, None, 7).scaled(100, -10) == Estimate(40, 15, None, 7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0, "seed": 0}, "at least 1 input, not 0"),
        ({"n": 3, "seed": 0, "resamples": 0}, "at least 1 resample, not 0"),
        ({"n": 3, "seed": 0, "level": 95}, "not at 95"),
    ],
)
def test_settings_that_cannot_work_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Bootstrap(**settings)


def test_values_that_do_not_fit_are_refused():
    bootstrap = Bootstrap(3, seed=0)
    with pytest.raises(ValueError, match=r"not \[4, 2\]"):
        bootstrap.resampled_means(np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"not \[3\]"):
        bootstrap.resampled_means(np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        bootstrap.resampled_means(np.array([[1.0], [np.inf], [2.0]]))
