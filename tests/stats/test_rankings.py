"""Whether a foretold order came true, on orders whose answer is known."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from ketchup_eval.stats.rankings import mean_rank_correlation


def test_the_value_is_the_mean_of_scipys_correlations():
    draw = np.random.default_rng(0)
    foretold = draw.normal(size=(3, 6))
    reached = draw.normal(size=(3, 6, 4))
    found, _ = mean_rank_correlation(foretold, reached.tolist(), 0)
    literal = np.mean([spearmanr(foretold[p], reached[p].mean(axis=1)).statistic for p in range(3)])
    assert found.value == pytest.approx(literal)
    assert found.n == 18
    assert found.low < found.value < found.high


def test_the_p_value_counts_the_orders_that_agree_as_much():
    """Of the 24 orders of four arms, at two places alike, only the order itself and its reverse reach |ρ| = 1."""
    foretold = np.array([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]])
    reached = [[[1.0], [2.0], [3.0], [4.0]], [[4.0], [3.0], [2.0], [1.0]]]
    found, p = mean_rank_correlation(foretold, reached, 0)
    assert (found.value, p) == (pytest.approx(1.0), pytest.approx(2 / 24))
    assert (found.low, found.high) == (None, None)  # four arms


def test_places_that_contradict_each_other_leave_nothing():
    foretold = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]] * 2)
    reached = [[[float(a)] for a in range(5)], [[float(-a)] for a in range(5)]]
    found, p = mean_rank_correlation(foretold, reached, 0)
    assert found.value == pytest.approx(0.0)
    assert p == 1.0
    assert found.low < -0.5 < 0.5 < found.high


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """Items and their noise are drawn anew; the truth is the mean over many studies of the same kind."""
    draw = np.random.default_rng(1)

    def study():
        foretold = np.tile(draw.normal(size=6), (2, 1)) + 0.3 * draw.normal(size=(2, 6))
        return foretold, foretold[:, :, None] + 1.0 * draw.normal(size=(2, 6, 3))

    truth = np.mean([mean_rank_correlation(*study(), 0, resamples=1)[0].value for _ in range(200)])
    found = [mean_rank_correlation(*study(), 0, resamples=200)[0] for _ in range(100)]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.85


@pytest.mark.parametrize("constant", ["foretold", "reached"])
def test_a_side_without_an_order_has_no_correlation(constant):
    foretold = np.array([[1.0, 1.0, 1.0]]) if constant == "foretold" else np.array([[1.0, 2.0, 3.0]])
    reached = [[[5.0], [5.0], [5.0]]] if constant == "reached" else [[[1.0], [2.0], [3.0]]]
    found, p = mean_rank_correlation(foretold, reached, 0)
    assert (found.value, found.low, p) == (None, None, None)


def test_without_places_there_is_none():
    found, p = mean_rank_correlation(np.empty((0, 4)), [], 0)
    assert (found.value, found.n, p) == (None, 0, None)
    assert not math.isnan(found.n)
