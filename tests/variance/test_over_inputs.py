"""Two kinds of intervals around the same values."""

import numpy as np
import pytest

from ketchup_eval.stats import intervals
from ketchup_eval.variance.over_inputs import OverInputs


@pytest.fixture
def values():
    found = np.random.default_rng(0).lognormal(size=(40, 3))
    found[3, 1] = np.nan
    return found


def test_without_resamples_they_are_halls(values):
    assert OverInputs().means(values) == intervals.means(values)
    assert OverInputs().ratios(values, values[:, ::-1]) == intervals.ratios(values, values[:, ::-1])


def test_with_resamples_they_are_percentiles_of_means_of_inputs_drawn_anew(values):
    """Drawn here once more, by other random numbers: ends agree within the error of 20,000 resamples."""
    drawn = np.random.default_rng(1).integers(40, size=(20_000, 40))
    means = np.nanmean(values[drawn], axis=1)
    ratios = means[:, 0] / means[:, 2]
    found = OverInputs(20_000, seed=2)
    for one, column in zip(found.means(values), means.T, strict=True):
        low, high = np.percentile(column, (2.5, 97.5))
        assert (one.low, one.high) == pytest.approx((low, high), abs=0.05 * (high - low))
    assert [one.value for one in found.means(values)] == [one.value for one in intervals.means(values)]
    (ratio,) = found.ratios(values[:, :1], values[:, 2:])
    low, high = np.percentile(ratios, (2.5, 97.5))
    assert (ratio.low, ratio.high) == pytest.approx((low, high), abs=0.05 * (high - low))
    assert "20000 resamples" in found.method


def test_what_has_no_interval_gets_none():
    same = OverInputs(50).means(np.ones((5, 1)))[0]
    assert (same.value, same.low, same.high) == (1.0, None, None)
    assert OverInputs(50).ratios(np.zeros((5, 1)), np.zeros((5, 1)))[0].value is None
