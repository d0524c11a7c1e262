"""Intervals from influences: against a root finder, Student's t, their own numeric form, and simulated truths."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from ketchup_eval.stats.bootstrap import Estimate
from ketchup_eval.stats.intervals import concentration, means, of_weights, ratios


def bounds(estimate):
    return estimate.low, estimate.high


def literal_bounds(value, influence, a, level):
    """θ̂ - T SE at both ends, T from Hall's cubic by bisection, with moments and degrees of freedom from scipy."""
    n = len(influence)
    b = stats.skew(influence) / 6
    degrees = min(n - 1, 2 / (2 / (n - 1) + stats.kurtosis(influence) / n))

    def t_at(x):
        return brentq(lambda t: t + (a * t**2 + b) / n**0.5 + a**2 * t**3 / (3 * n) - x, -1e4, 1e4, xtol=1e-12)

    x = stats.t.ppf((1 + level) / 2, degrees)
    return value - t_at(x) * stats.sem(influence), value - t_at(-x) * stats.sem(influence)


@pytest.fixture
def values():
    """Two skewed, dependent columns of 30 inputs."""
    generator = np.random.default_rng(3)
    first = generator.lognormal(size=30)
    return np.stack([first, 5 + first * generator.lognormal(size=30)], axis=1)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_means_are_halls_by_bisection(values, level):
    for column, found in zip(values.T, means(values, level), strict=True):
        low, high = literal_bounds(column.mean(), column - column.mean(), stats.skew(column) / 3, level)
        assert (found.value, found.low, found.high) == pytest.approx((column.mean(), max(low, 0), high), rel=1e-9)


def test_ratios_are_halls_by_bisection(values):
    x, y = values.T
    influence = (x - x.mean() / y.mean() * y) / y.mean()
    rho = np.mean(influence * (y - y.mean())) / (y.mean() * influence.std())
    low, high = literal_bounds(x.mean() / y.mean(), influence, stats.skew(influence) / 3 - rho, 0.95)
    (found,) = ratios(values[:, :1], values[:, 1:])
    assert (found.value, found.low, found.high) == pytest.approx((x.mean() / y.mean(), low, high), rel=1e-9)


def test_values_without_skew_and_tails_have_students_interval():
    values = np.repeat([[1.0], [4.0]], 8, axis=0)
    (found,) = means(values)
    theirs = stats.t.interval(0.95, 15, loc=2.5, scale=stats.sem(values[:, 0]))
    assert bounds(found) == pytest.approx(theirs)


def test_the_general_form_sees_how_means_and_ratios_bend(values):
    """Closed forms against derivatives taken by moving the weights."""
    x, y = values.T

    def mean(weights):
        return weights @ x, x - weights @ x

    def ratio(weights):
        value = (weights @ x) / (weights @ y)
        return value, (x - value * y) / (weights @ y)

    for statistic, expected in ((mean, means(values[:, :1])), (ratio, ratios(values[:, :1], values[:, 1:]))):
        found = of_weights(statistic, 30)
        assert (found.value, found.high) == pytest.approx((expected[0].value, expected[0].high), rel=1e-6)
        assert max(found.low, 0) == pytest.approx(expected[0].low, rel=1e-5)


def test_a_scale_is_a_change_of_the_statistic(values):
    """The interval of θ on the log scale is exp of that of log θ: chain rule by hand."""
    x = values[:, 0]

    def mean(weights):
        return weights @ x, x - weights @ x

    def log_mean(weights):
        return np.log(weights @ x), (x - weights @ x) / (weights @ x)

    plain, logged = of_weights(log_mean, 30), of_weights(mean, 30, "log")
    assert bounds(logged) == pytest.approx((np.exp(plain.low), np.exp(plain.high)), rel=1e-6)
    assert logged.value == pytest.approx(x.mean())


def correlation(x, y):
    def statistic(weights):
        a, b = x - weights @ x, y - weights @ y
        a, b = a / (weights @ a**2) ** 0.5, b / (weights @ b**2) ** 0.5
        rho = weights @ (a * b)
        return rho, a * b - rho / 2 * (a**2 + b**2)

    return statistic


def test_arctanh_keeps_a_cosine_below_1_and_its_interval_at_its_level():
    """Correlation of 30 pairs of normals, ρ = 0.9; 4 standard errors of 95% over 500 are 3.9%."""
    generator, covered = np.random.default_rng(1), 0
    for _ in range(500):
        x, e = generator.normal(size=(2, 30))
        found = of_weights(correlation(x, 0.9 * x + (1 - 0.81) ** 0.5 * e), 30, "arctanh")
        assert -1 < found.low < found.value < found.high < 1
        covered += found.low <= 0.9 <= found.high
    assert covered / 500 == pytest.approx(0.95, abs=0.039)


@pytest.mark.parametrize("scale", ["log", "logit", "arctanh"])
def test_a_value_outside_of_the_scale_has_no_bounds(scale):
    found = of_weights(lambda weights: (-2.0, np.arange(4.0) - weights @ np.arange(4.0)), 4, scale)
    assert found == Estimate(-2.0, None, None, 4)


SKEWED = {"exponential": (1.0, lambda g, n: g.exponential(size=(n, 1))),
          "log-normal, σ = 1": (np.exp(0.5), lambda g, n: g.lognormal(size=(n, 1)))}  # fmt: skip


@pytest.mark.parametrize(("kind", "n", "least"), [
    ("exponential", 15, 0.92), ("exponential", 40, 0.93), ("log-normal, σ = 1", 32, 0.92),
    ("log-normal, σ = 1", 100, 0.93),
])  # fmt: skip
def test_means_of_skewed_inputs_are_covered(kind, n, least):
    """2,000 samples, of which percentile bootstraps cover 88%, 92%, 87% and 92%, Student's t 90%, 93%, 88% and 93%."""
    truth, draw = SKEWED[kind]
    generator = np.random.default_rng(0)
    drawn = np.concatenate([draw(generator, n) for _ in range(2000)], axis=1)
    inside = [found.low <= truth <= found.high for found in means(drawn)]
    assert least <= np.mean(inside) <= 0.97


def test_ratios_of_skewed_inputs_are_covered():
    """Both log-normal, their logarithms correlated at 0.9, 32 inputs."""
    generator = np.random.default_rng(0)
    log_y = generator.normal(size=(32, 2000))
    log_x = 0.9 * log_y + (1 - 0.81) ** 0.5 * generator.normal(size=log_y.shape)
    inside = [found.low <= 1 <= found.high for found in ratios(np.exp(log_x), np.exp(log_y))]
    assert 0.92 <= np.mean(inside) <= 0.97


def test_pairing_shortens_the_interval_of_a_ratio():
    generator = np.random.default_rng(2)
    below = generator.exponential(size=(100, 1))
    above = 0.5 * below + 0.01 * generator.normal(size=(100, 1))
    [paired] = ratios(above, below)
    [shuffled] = ratios(generator.permutation(above), below)
    assert paired.value == pytest.approx(shuffled.value)
    assert paired.high - paired.low < (shuffled.high - shuffled.low) / 10


def test_absent_inputs_are_as_if_they_were_not_there(values):
    padded = np.insert(values, [3, 17], np.nan, axis=0)
    assert [(e.value, e.low, e.high, e.n) for e in means(padded)] == [
        pytest.approx((e.value, e.low, e.high, e.n)) for e in means(values)
    ]
    padded[0, 1] = np.nan  # either of a pair
    (found,), (expected,) = ratios(padded[:, :1], padded[:, 1:]), ratios(values[1:, :1], values[1:, 1:])
    assert (*bounds(found), found.n) == pytest.approx((*bounds(expected), expected.n))


def test_units_only_scale_an_interval(values):
    for factor in (1e-150, 1e150):
        for found, expected in zip(means(factor * values), means(values), strict=True):
            assert bounds(found) == pytest.approx((factor * expected.low, factor * expected.high))
            assert expected.scaled(2, 1) == Estimate(
                2 * expected.value + 1, 2 * expected.low + 1, 2 * expected.high + 1, 30
            )


numbers = st.floats(-1e12, 1e12) | st.sampled_from([0.0, 1.0, 1e-300, math.nan])


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12))
def test_whatever_the_inputs_an_interval_holds_its_value(pairs):
    """And it is there for two inputs or more that differ by more than rounding, also where one has all the rest."""
    values = np.array(pairs)
    for found in (*means(values), *ratios(values[:, :1], values[:, 1:])):
        assert found.value is None or math.isfinite(found.value)
        assert (found.low is None) == (found.high is None)
        if found.low is not None:
            assert found.low <= found.value <= found.high < math.inf
            assert found.low < found.high
    for column, found in zip(values.T, means(values), strict=True):
        known = column[~np.isnan(column)]
        assert found.n == len(known)
        if len(known) > 1 and np.ptp(known) > 1e-9 * np.abs(known).max():
            assert found.low is not None


def test_inputs_that_are_alike_say_nothing_of_the_next():
    assert means(np.full((7, 1), 0.1)) == [Estimate(pytest.approx(0.1), None, None, 7)]
    assert ratios(np.full((7, 1), 0.3), np.full((7, 1), 0.1)) == [Estimate(pytest.approx(3), None, None, 7)]
    values = np.random.default_rng(1).lognormal(3, 2, size=(1001, 1))
    assert ratios(values, values) == [Estimate(1.0, None, None, 1001)]


def test_too_few_inputs():
    assert means(np.array([[3.0, np.nan]])) == [Estimate(3, None, None, 1), Estimate(None, None, None, 0)]
    assert ratios(np.array([[3.0]]), np.array([[4.0]])) == [Estimate(0.75, None, None, 1)]
    assert ratios(np.ones((5, 1)), np.zeros((5, 1))) == [Estimate(None, None, None, 5)]
    assert means(np.zeros((0, 1))) == [Estimate(None, None, None, 0)]
    (two,) = means(np.array([[1.0], [3.0]]))
    assert bounds(two) == pytest.approx((0, 2 + 12.706), abs=1e-3)  # t with one degree of freedom, no bound below 0


def test_no_bound_is_below_0_where_no_input_is():
    (found,) = means(np.array([[0.1], [0.2], [0.0], [9.0]]))
    assert found.low == 0
    (found,) = means(np.array([[0.1], [0.2], [-0.1], [9.0]]))
    assert found.low < 0
    parts, wholes = np.array([[0.5], [-0.4], [0.3], [-0.3]]), np.ones((4, 1))
    assert ratios(parts, wholes)[0].low < 0
    assert ratios(np.abs(parts) ** 9, wholes)[0].low == 0


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"not \[3\]"):
        means(np.zeros(3))
    with pytest.raises(ValueError, match=r"\[3, 2\] and denominators \[3, 1\]"):
        ratios(np.zeros((3, 2)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="finite"):
        means(np.array([[1.0], [np.inf], [2.0]]))


def test_concentration_by_hand():
    """One of ten inputs has 11 of 20, nine have 1 each: 20² / (11² + 9) = 3.08 equal ones."""
    found = concentration(np.array([1.0] * 9 + [np.nan, 11.0]))
    assert (found.effective, found.top_tenth, found.n) == (pytest.approx(400 / 130), pytest.approx(0.55), 10)
    assert concentration(np.ones(20)).effective == pytest.approx(20)
    assert concentration(np.zeros(3)) is None
    assert concentration(np.array([np.nan])) is None
