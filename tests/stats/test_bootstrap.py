import math

import numpy as np
import pytest

from ketchup_eval.stats import bootstrap
from ketchup_eval.stats.bootstrap import Bootstrap, Estimate


def literal_interval(items, statistic, seed, resamples, level):
    """One resample after the other: draw the inputs, take the statistic of their rows, cut off the tails."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = [items[i] for i in generator.integers(len(items), size=len(items))]
        found.append(statistic(drawn))
    return np.quantile(found, [(1 - level) / 2, (1 + level) / 2]).tolist()


def mean_of_present(values):
    present = [x for x in values if not math.isnan(x)]
    return sum(present) / len(present)


@pytest.fixture
def items():
    """Two skewed columns that depend on each other; the second is absent for one input in five."""
    generator = np.random.default_rng(3)
    first = generator.exponential(size=30)
    second = first + generator.exponential(size=30)
    second[::5] = np.nan
    return np.stack([first, second], axis=1)


def test_means_agree_with_a_literal_loop(items):
    estimates = Bootstrap(30, seed=8, resamples=200, level=0.9).means(items)
    for column, estimate, n in zip(items.T, estimates, [30, 24], strict=True):
        low, high = literal_interval(column.tolist(), mean_of_present, seed=8, resamples=200, level=0.9)
        assert estimate.value == pytest.approx(mean_of_present(column.tolist()))
        assert (estimate.low, estimate.high) == pytest.approx((low, high))
        assert estimate.n == n


@pytest.mark.parametrize(("above", "below"), [(0, 1), (1, 0)])
def test_ratios_agree_with_a_literal_loop(items, above, below):
    def ratio(rows):
        both = [row for row in rows if not math.isnan(row[1])]
        return sum(row[above] for row in both) / sum(row[below] for row in both)

    [estimate] = Bootstrap(30, seed=8, resamples=200).ratios(items[:, [above]], items[:, [below]])
    low, high = literal_interval(items.tolist(), ratio, seed=8, resamples=200, level=0.95)
    assert estimate.value == pytest.approx(ratio(items.tolist()))
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert estimate.n == 24


def test_blocks_do_not_show(items, monkeypatch):
    whole = Bootstrap(30, seed=1, resamples=50).resampled_means(items)
    monkeypatch.setattr(bootstrap, "BLOCK_ENTRIES", 30 * 7)
    np.testing.assert_allclose(Bootstrap(30, seed=1, resamples=50).resampled_means(items), whole, rtol=1e-12)


def test_the_seed_decides_and_nothing_else(items):
    np.random.seed(0)
    first = Bootstrap(30, seed=1, resamples=50)
    np.random.seed(1)
    again = Bootstrap(30, seed=1, resamples=50)
    assert first.means(items) == first.means(items) == again.means(items)
    assert first.means(items) != Bootstrap(30, seed=2, resamples=50).means(items)


def test_intervals_cover_the_truth_as_often_as_they_say():
    # Exponential with mean 1, n = 40. A percentile interval is slightly short here: near 93% rather than 95%.
    generator = np.random.default_rng(0)
    trials = 400
    for level, expected in [(0.95, 0.93), (0.5, 0.49)]:
        hits = 0
        for trial in range(trials):
            [estimate] = Bootstrap(40, trial, resamples=200, level=level).means(generator.exponential(size=(40, 1)))
            hits += estimate.low <= 1 <= estimate.high
        assert abs(hits / trials - expected) < 4 * math.sqrt(expected * (1 - expected) / trials)


def test_the_width_is_that_of_the_normal_law_when_n_is_large():
    items = np.random.default_rng(5).normal(size=(2000, 1))
    [estimate] = Bootstrap(2000, seed=0).means(items)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * items.std() / math.sqrt(2000), rel=0.06)


def test_a_quantity_is_paired_with_itself():
    # Columns of several sizes and layouts: rounding must be the same above and below.
    items = np.random.default_rng(1).lognormal(3, 2, size=(1001, 13))
    items[17, 4] = np.nan
    for estimate, n in zip(Bootstrap(1001, seed=0, resamples=100).ratios(items, items), [1001] * 13, strict=True):
        assert estimate in (Estimate(1, 1, 1, n), Estimate(1, 1, 1, n - 1))


def test_pairing_shortens_the_interval_of_a_ratio():
    generator = np.random.default_rng(2)
    below = generator.exponential(size=(100, 1))
    above = 0.5 * below + 0.01 * generator.normal(size=(100, 1))
    [paired] = Bootstrap(100, seed=0).ratios(above, below)
    [shuffled] = Bootstrap(100, seed=0).ratios(generator.permutation(above), below)
    assert paired.value == pytest.approx(shuffled.value)
    assert paired.high - paired.low < (shuffled.high - shuffled.low) / 10


def test_one_input_has_a_value_and_no_interval():
    bootstrap = Bootstrap(1, seed=0)
    assert bootstrap.means(np.array([[3.0, np.nan]])) == [Estimate(3, None, None, 1), Estimate(None, None, None, 0)]
    assert bootstrap.ratios(np.array([[3.0]]), np.array([[4.0]])) == [Estimate(0.75, None, None, 1)]


def test_a_resample_without_the_quantity_leaves_no_interval():
    # Two inputs of three have it, so one resample in 27 has none of them.
    [estimate] = Bootstrap(3, seed=0).means(np.array([[1.0], [2.0], [np.nan]]))
    assert estimate == Estimate(1.5, None, None, 2)


def test_a_ratio_to_zero_is_absent():
    [estimate] = Bootstrap(5, seed=0).ratios(np.ones((5, 1)), np.zeros((5, 1)))
    assert estimate == Estimate(None, None, None, 5)


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


def test_items_that_do_not_fit_are_refused():
    bootstrap = Bootstrap(3, seed=0)
    with pytest.raises(ValueError, match=r"not \[4, 2\]"):
        bootstrap.means(np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"not \[3\]"):
        bootstrap.means(np.zeros(3))
    with pytest.raises(ValueError, match="2 numerators have 1 denominators"):
        bootstrap.ratios(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="finite"):
        bootstrap.means(np.array([[1.0], [np.inf], [2.0]]))
