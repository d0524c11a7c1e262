"""Tests of corpus scores: exact enumeration, scipy, and how often they reject and cover on simulated systems."""

import itertools

import numpy as np
import pytest
from scipy.stats import permutation_test

from ketchup_eval.stats.bootstrap import Bootstrap, Estimate
from ketchup_eval.stats.corpus import (
    centred_p_value,
    percentile_estimate,
    randomisation_p_value,
    resampled_sums,
    smallest_detectable,
)


def ratio(sums):
    """A corpus score that is no mean of item scores, as TER is."""
    return 100 * sums[..., 0] / sums[..., 1]


def first(sums):
    return sums[..., 0]


def system(rng, n, difficulty=None, gain=0.0):
    """Edits and words of n segments; `difficulty` is what two systems have in common."""
    words = rng.integers(5, 30, size=n)
    difficulty = rng.normal(0.4, 0.1, size=n) if difficulty is None else difficulty
    edits = np.maximum(0, words * (difficulty + rng.normal(0, 0.1, size=n) - gain))
    return np.stack([edits, words], axis=1).astype(float)


def test_randomisation_by_enumeration():
    rng = np.random.default_rng(0)
    a, b = system(rng, 9), system(rng, 9)
    observed = abs(ratio(a.sum(0)) - ratio(b.sum(0)))
    exact = []
    for coins in itertools.product((False, True), repeat=9):
        swap = np.array(coins)[:, None]
        shuffled = abs(ratio(np.where(swap, b, a).sum(0)) - ratio(np.where(swap, a, b).sum(0)))
        exact.append(shuffled >= observed * (1 - 1e-9))
    (ours,) = randomisation_p_value(a, b, [ratio], seed=1, trials=40_000)
    assert ours == pytest.approx(np.mean(exact), abs=4 * (0.25 / 40_000) ** 0.5)


def test_randomisation_of_sums_is_scipys_permutation_test():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 9, size=(2, 60, 1)).astype(float)
    b += 0.6
    (ours,) = randomisation_p_value(a, b, [first], seed=1, trials=20_000)
    theirs = permutation_test(
        (a[:, 0], b[:, 0]), lambda x, y: x.sum() - y.sum(), permutation_type="samples", n_resamples=9_999, rng=3
    ).pvalue
    assert ours == pytest.approx(theirs, abs=0.015)


def test_equal_systems_have_p_one():
    a = system(np.random.default_rng(3), 50)
    assert randomisation_p_value(a, a.copy(), [ratio], seed=1, trials=500) == [1.0]
    assert centred_p_value(0.0, np.zeros(500)) == 1.0


def test_rules_share_the_coins_and_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(4)
    a, b = system(rng, 40), system(rng, 40)
    together = randomisation_p_value(a, b, [ratio, first], seed=1, trials=600)
    assert together == randomisation_p_value(a, b, [ratio], 1, 600) + randomisation_p_value(a, b, [first], 1, 600)


def test_type_one_errors_are_near_five_percent_and_intervals_cover():
    """400 pairs of equally good systems: 4 standard errors of 5% are 4.4%."""
    rng = np.random.default_rng(7)
    randomisation, bootstrap, covered = [], [], []
    for trial in range(400):
        difficulty = rng.normal(0.4, 0.1, size=150)
        words = rng.integers(5, 30, size=150)
        a, b = system(rng, 150, difficulty), system(rng, 150, difficulty)
        a[:, 1] = b[:, 1] = words  # the references are the same for both
        randomisation.append(randomisation_p_value(a, b, [ratio], seed=trial, trials=400)[0])
        sums = resampled_sums(Bootstrap(150, trial, 400), np.concatenate([a, b], axis=1))
        differences = ratio(sums[:, 2:]) - ratio(sums[:, :2])
        observed = ratio(b.sum(0)) - ratio(a.sum(0))
        bootstrap.append(centred_p_value(observed, differences))
        interval = percentile_estimate(observed, differences, 150)
        covered.append(interval.low <= 0 <= interval.high)
    assert 0.01 <= np.mean(np.array(randomisation) <= 0.05) <= 0.094
    assert 0.01 <= np.mean(np.array(bootstrap) <= 0.05) <= 0.094
    assert 0.906 <= np.mean(covered) <= 0.99


def test_the_smallest_detectable_effect_is_found_with_the_stated_power():
    rng = np.random.default_rng(8)
    found, sizes = [], []
    for trial in range(300):
        d = rng.normal(0.28, 1.0, size=100)  # (1.96 + 0.84) x 1 / √100
        sums = resampled_sums(Bootstrap(100, trial, 300), d[:, None])
        sizes.append(smallest_detectable(first(sums) / 100))
        found.append(randomisation_p_value(d[:, None], np.zeros((100, 1)), [first], trial, 300)[0] <= 0.05)
    assert np.mean(sizes) == pytest.approx(0.28, rel=0.03)
    assert np.mean(found) == pytest.approx(0.8, abs=0.1)


def test_one_item_has_no_interval():
    estimate = percentile_estimate(3.0, np.full(10, 3.0), 1)
    assert (estimate.value, estimate.low, estimate.high) == (3.0, None, None)


def test_a_rule_without_a_value_has_no_p_value_and_no_interval():
    """p = 1 / (1 + trials), the smallest there is, would call the undefined the surest of findings."""
    a, b = (system(np.random.default_rng(seed), 30) for seed in (0, 1))

    def undefined(sums):
        return sums[..., 0] * np.nan

    assert randomisation_p_value(a, b, [undefined, ratio], seed=1, trials=200)[0] is None
    assert centred_p_value(np.nan, np.full(200, np.nan)) is None
    assert percentile_estimate(np.nan, np.full(200, np.nan), 30) == Estimate(None, None, None, 30)
    assert smallest_detectable(np.full(200, np.nan)) is None


def test_shuffles_without_a_value_are_no_evidence():
    """The rule has no value where fewer than 5 of 9 inputs are a's or more than 7: those count against a finding."""
    a, b = np.zeros((9, 2)), np.ones((9, 2))

    def sometimes(sums):
        return np.where((sums[..., 1] > 0) & (sums[..., 1] < 3), np.nan, sums[..., 0])

    (p,) = randomisation_p_value(a, b, [sometimes], seed=1, trials=4000)
    # hits: no or all swaps (|difference| 9), and 1, 2, 7 or 8 swaps, in one of whose systems there is no value
    assert p == pytest.approx((2 + 2 * (9 + 36)) / 2**9, abs=0.03)
    assert centred_p_value(2.0, np.array([np.nan, 2.0, 2.1, 2.2])) == 2 / 5


def test_systems_that_do_not_differ_detect_nothing_and_have_no_interval():
    a = system(np.random.default_rng(3), 50)
    sums = resampled_sums(Bootstrap(50, 1, 300), np.concatenate([a, a], axis=1))
    rounded = ratio(sums[:, 2:]) - ratio(sums[:, :2]) + 1e-13 * np.random.default_rng(1).normal(size=300)
    assert smallest_detectable(rounded) is None
    assert percentile_estimate(0.0, rounded, 50) == Estimate(0.0, None, None, 50)


@pytest.mark.parametrize(("undefined", "known"), [(0, True), (10, True), (11, False)])
def test_a_hundredth_of_the_resamples_may_be_undefined(undefined, known):
    resampled = np.arange(1000.0)
    resampled[:undefined] = np.nan
    found = percentile_estimate(3.0, resampled, 9)
    if known:
        assert (found.low, found.high) == pytest.approx(np.percentile(resampled[undefined:], [2.5, 97.5]))
    else:
        assert found == Estimate(3.0, None, None, 9)
