"""Spearman's ρ against scipy, and its interval against simulation."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from ketchup_eval.stats.correlation import spearman


@pytest.mark.parametrize("ties", [False, True])
def test_it_is_scipys(ties):
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    y = x + rng.normal(size=200)
    if ties:
        x, y = x.round(), (y > 0).astype(float)
    assert spearman(x, y, seed=1, resamples=100).value == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_a_constant_or_a_single_item_has_none():
    constant = spearman(np.ones(9), np.arange(9.0), seed=1)
    assert (constant.value, constant.low, constant.n) == (None, None, 9)
    assert spearman(np.ones(1), np.ones(1), seed=1).value is None


def test_inputs_in_perfect_order_are_no_certainty():
    """Every resample of a perfect order is one: nothing to tell how far other inputs would stray."""
    found = spearman(np.arange(5.0), np.arange(5.0) ** 3, seed=1, resamples=200)
    assert (found.value, found.low, found.high) == (pytest.approx(1), None, None)


def test_the_interval_covers_independence():
    rng = np.random.default_rng(1)
    covered = []
    for trial in range(150):
        estimate = spearman(rng.normal(size=80), rng.normal(size=80), seed=trial, resamples=300)
        covered.append(estimate.low <= 0 <= estimate.high)
    assert np.mean(covered) >= 0.88
