import numpy as np
import pytest
from scipy import stats

from ketchup_eval.stats.bootstrap import Bootstrap, Estimate
from ketchup_eval.stats.seeds import compare_runs, mean_over_seeds


def test_the_interval_is_students():
    values = [1.0, 2.5, 4.0]
    found = mean_over_seeds(values)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (found.value, found.low, found.high, found.n) == pytest.approx((2.5, low, high, 3))


def test_one_seed_has_no_interval_and_none_no_value():
    assert mean_over_seeds([3.0]) == Estimate(3.0, None, None, 1)
    assert mean_over_seeds([]) == Estimate(None, None, None, 0)


def test_seeds_that_are_alike_do_not_say_how_far_others_would_stray():
    assert mean_over_seeds([0.0, 0.0, 0.0]) == Estimate(0.0, None, None, 3)


def test_three_seeds_cover_at_the_nominal_rate():
    generator = np.random.default_rng(0)
    drawn = generator.normal(2.0, 3.0, size=(2000, 3)).tolist()
    inside = [e.low <= 2.0 <= e.high for e in map(mean_over_seeds, drawn)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)


# Two methods


def first(sums):
    return sums[..., 0]


def sides(generator, runs, spreads, n=100):
    """Scores of runs on n items: items of sd 1.5 that all runs share, of sd 1 for each, and runs of the sd given."""
    items = generator.normal(0, 1.5, size=(n, 1))
    return [
        [items + generator.normal(generator.normal(0, sd), 1.0, size=(n, 1)) for _ in range(count)]
        for count, sd in zip(runs, spreads, strict=True)
    ]


def compared(both, trial=0, resamples=200):
    n = len(both[0][0])
    return compare_runs(*both, lambda sums: first(sums) / n, Bootstrap(n, trial, resamples))


@pytest.mark.parametrize("between", [0.0, 0.3])
@pytest.mark.parametrize("runs", [(3, 3), (5, 2), (3, 1), (1, 2), (1, 5)])
def test_equal_methods_are_told_apart_no_more_often_than_stated(runs, between):
    """300 pairs of equal methods, also where one has a single run; 4 standard errors of 5% are 5%, of 1% 2.3%.

    Taking a single run for its method's mean told apart a fifth of them.
    """
    generator = np.random.default_rng(10)
    found = [compared(sides(generator, runs, (between, between)), trial, 100) for trial in range(300)]
    p_values = np.array([one.p for one in found])
    assert (p_values <= 0.05).mean() <= 0.1
    assert (p_values <= 0.01).mean() <= 0.033
    inside = [one.difference.low <= 0 <= one.difference.high for one in found]
    assert inside == (p_values >= 0.05).tolist()


def test_methods_that_differ_are_told_apart():
    generator = np.random.default_rng(11)
    found, sizes = [], []
    for trial in range(200):
        a, b = sides(generator, (4, 4), (0.1, 0.1))
        one = compared([a, [run + 0.32 for run in b]], trial)
        found.append(one.p <= 0.05)
        sizes.append(one.detectable)
    assert np.mean(sizes) == pytest.approx(0.32, abs=0.04)
    assert np.mean(found) == pytest.approx(0.8, abs=0.1)


def test_runs_alone_have_welchs_interval():
    """Items that do not differ leave the runs: Welch's t, whose p-value is the level at which it reaches 0."""
    a, b = [3.0, 5.0, 4.0], [6.0, 6.5]
    both = [[np.full((50, 1), score) for score in side] for side in (a, b)]
    theirs = stats.ttest_ind(b, a, equal_var=False)
    ours = compared(both)
    assert ours.difference.value == pytest.approx(2.25)
    assert (ours.difference.low, ours.difference.high) == pytest.approx(theirs.confidence_interval(0.95))
    assert ours.p == pytest.approx(theirs.pvalue)


def test_a_single_run_borrows_the_variance_of_the_others():
    """A pooled t test of one against three: √(s² (1 + 1/3)), two degrees of freedom."""
    both = [[np.full((50, 1), score) for score in side] for side in ([7.0], [3.0, 5.0, 4.0])]
    theirs = stats.ttest_ind([3.0, 5.0, 4.0], [7.0])
    for ours, sign in ((compared(both), 1), (compared(both[::-1]), -1)):
        assert ours.difference.value == pytest.approx(-3 * sign)
        low, high = theirs.confidence_interval(0.95)
        assert (ours.difference.low, ours.difference.high) == pytest.approx((low, high) if sign > 0 else (-high, -low))
        assert ours.p == pytest.approx(theirs.pvalue)


def test_runs_that_happen_to_be_alike_do_not_make_their_items_certain():
    """Two runs of equal score on other items, against one: as uncertain as their items if runs were fixed."""
    generator = np.random.default_rng(4)
    run = generator.normal(size=(200, 1))
    ours = compared([[run, generator.permutation(run)], [generator.permutation(run)]])
    assert ours.difference.value == pytest.approx(0, abs=1e-12)
    # V = (1/2 + 1) / 200 of independent items, less what bootstraps of 200 resamples stray
    assert ours.difference.high == pytest.approx(1.97 * (1.5 * run.var() / 200) ** 0.5, rel=0.25)


def test_runs_without_any_spread_have_a_difference_and_no_interval():
    same = [[np.ones((9, 1))] * 2, [np.ones((9, 1))] * 2]
    ours = compared(same)
    assert (ours.difference, ours.p, ours.detectable) == (Estimate(0.0, None, None, 9), 1.0, None)
    ours = compared([[np.ones((9, 1))] * 2, [np.zeros((9, 1))] * 2])
    assert (ours.difference, ours.p) == (Estimate(-1.0, None, None, 9), None)
    undefined = compare_runs(*same, lambda sums: first(sums) * np.nan, Bootstrap(9, 0, 50))
    assert (undefined.difference.value, undefined.p, undefined.detectable) == (None, None, None)
