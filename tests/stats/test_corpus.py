"""Tests of corpus scores: exact enumeration, scipy, and how often they reject and cover on simulated systems."""

import itertools

import numpy as np
import pytest
from scipy.stats import permutation_test, ttest_ind

from ketchup_eval.stats.bootstrap import Bootstrap
from ketchup_eval.stats.corpus import (
    centred_p_value,
    hierarchical_bootstrap,
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


def test_the_hierarchical_bootstrap_of_single_runs_is_the_paired_bootstrap():
    rng = np.random.default_rng(9)
    a, b = system(rng, 80), system(rng, 80)
    bootstrap = Bootstrap(80, 1, 500)
    ours = hierarchical_bootstrap([a], [b], ratio, bootstrap)
    sums = resampled_sums(bootstrap, np.concatenate([a, b], axis=1))
    assert np.allclose(ours.resampled, ratio(sums[:, 2:]) - ratio(sums[:, :2]), atol=1e-9)
    assert ours.difference == pytest.approx(ratio(b.sum(0)) - ratio(a.sum(0)))


def test_the_spread_of_constant_runs_is_that_of_welchs_t_interval():
    a, b = [3.0, 5.0, 4.0], [6.0, 6.5]
    sides = [[np.full((50, 1), score) for score in side] for side in (a, b)]
    result = hierarchical_bootstrap(*sides, lambda sums: first(sums) / 50, Bootstrap(50, 1, 40_000))
    theirs = ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert result.difference == pytest.approx(2.25)
    assert 1.96 * result.resampled.std() == pytest.approx((theirs.high - theirs.low) / 2, rel=0.02)


@pytest.mark.parametrize("between", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("runs", [(3, 3), (5, 2), (3, 1)])
def test_intervals_cover_with_few_runs_whose_items_are_the_same(runs, between):
    """Items of sd 1.5 that all runs share, of sd 1 for each, and runs of sd `between`; 4 standard errors are 4.4%."""
    rng = np.random.default_rng(10)
    covered = []
    for trial in range(400):
        items = rng.normal(0, 1.5, size=(150, 1))
        # the mean of a single run stands for itself, so its own deviation is nothing to cover
        spread = [between if count > 1 else 0 for count in runs]
        sides = [
            [items + rng.normal(rng.normal(0, sd), 1.0, size=(150, 1)) for _ in range(count)]
            for count, sd in zip(runs, spread, strict=True)
        ]
        result = hierarchical_bootstrap(*sides, lambda sums: first(sums) / 150, Bootstrap(150, trial, 300))
        interval = percentile_estimate(result.difference, result.resampled, 150)
        covered.append(interval.low <= 0 <= interval.high)
    assert 0.906 <= np.mean(covered) <= 0.985
