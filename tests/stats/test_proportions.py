"""Wilson's interval against scipy's, McNemar's mid-p against enumeration, both against their levels."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom, binom, binomtest, multinomial

from ketchup_eval.stats.intervals import ratios
from ketchup_eval.stats.proportions import mcnemar_mid_p, paired_difference, shares, wilson


@given(n=st.integers(2, 3000), share=st.floats(0, 1))
def test_wilson_is_scipys(n, share):
    successes = round(share * n)
    ours = wilson(successes, n)
    theirs = binomtest(successes, n).proportion_ci(method="wilson")
    assert (ours.value, ours.n) == (successes / n, n)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_too_few_inputs_have_no_interval():
    assert wilson(0, 0).value is None
    one = wilson(1, 1)
    assert (one.value, one.low, one.high, one.n) == (1.0, None, None, 1)


@pytest.mark.parametrize(("a", "b"), list(itertools.product(range(7), repeat=2)))
def test_mid_p_by_enumeration(a, b):
    """Every pattern of the coins; those exactly as extreme as the observed one count half."""
    n = a + b
    sizes = [abs(2 * sum(coins) - n) for coins in itertools.product((0, 1), repeat=n)]
    more, equal = sum(size > abs(a - b) for size in sizes), sum(size == abs(a - b) for size in sizes)
    expected = (more + equal / 2) / 2**n if a != b else 1.0  # both tails at once: the whole distribution
    assert mcnemar_mid_p(a, b) == pytest.approx(expected)


def test_type_one_error_is_near_five_percent():
    rng = np.random.default_rng(5)
    rejected = 0
    for _ in range(4000):
        only_a, only_b, _ = rng.multinomial(200, [0.1, 0.1, 0.8])
        rejected += mcnemar_mid_p(int(only_a), int(only_b)) <= 0.05
    assert 0.04 <= rejected / 4000 <= 0.06


def test_wilson_covers_near_its_level():
    rng = np.random.default_rng(6)
    for share in (0.05, 0.3, 0.9):
        intervals = [wilson(int(k), 100) for k in rng.binomial(100, share, size=3000)]
        assert 0.93 <= np.mean([i.low <= share <= i.high for i in intervals]) <= 0.98


VOTES = 4
ITEMS = {
    "votes are independent": lambda p: binom.pmf(range(VOTES + 1), VOTES, p),
    "votes of an input are alike": lambda p: betabinom.pmf(range(VOTES + 1), VOTES, p, 1 - p),
    "an input's votes agree": lambda p: np.array([1 - p, 0, 0, 0, p]),
    "four inputs in five are torn": lambda p: np.array([0.2 * (1 - p), 0, 0.8, 0, 0.2 * p]),
}
"""How many of an input's four votes one system gets, as probabilities of 0 to 4."""


@pytest.mark.parametrize("n", [3, 5, 8, 12])
@pytest.mark.parametrize(("kind", "least"), [*zip(ITEMS, (0.91, 0.93, 0.82, 0.89), strict=True)])
def test_shares_of_few_inputs_are_covered_by_enumeration(n, kind, least):
    """Every outcome of n inputs, weighed by its exact probability, for 99 truths.

    Where an input's votes agree it is Wilson's interval, whose coverage swings with p as for any two-valued inputs; its
    mean is right. A percentile bootstrap of 5 such inputs misses 0.98 whenever all agree: 0.98⁵ = 90 times in 100.
    """
    outcomes = np.array([c for c in itertools.product(range(n + 1), repeat=VOTES + 1) if sum(c) == n])
    votes = np.stack([np.repeat(np.arange(VOTES + 1), counts) for counts in outcomes], axis=1).astype(float)
    found = shares(votes, np.full_like(votes, VOTES))
    assert all(0 <= e.low <= e.value <= e.high <= 1 and e.low < e.high for e in found)
    low, high = np.array([e.low for e in found]), np.array([e.high for e in found])
    coverage = []
    for p in np.linspace(0.01, 0.99, 99):
        item = ITEMS[kind](p)
        truth = item @ np.arange(VOTES + 1) / VOTES
        inside = (low <= truth + 1e-12) & (truth <= high + 1e-12)
        coverage.append(multinomial.pmf(outcomes[inside], n, item).sum())
    assert np.mean(coverage) >= 0.94
    assert min(coverage) >= least


def test_inputs_that_agree_are_as_good_as_a_share_of_so_many():
    (all_won,) = shares(np.full((5, 1), 4.0), np.full((5, 1), 4.0))
    assert (all_won.value, all_won.low, all_won.high) == pytest.approx((1, wilson(5, 5).low, 1))
    (mixed,) = shares(np.array([[4.0], [4.0], [0.0]]), np.full((3, 1), 4.0))
    assert (mixed.low, mixed.high) == pytest.approx((wilson(2, 3).low, wilson(2, 3).high))


def test_inputs_that_are_all_torn_are_no_certainty():
    """Agresti and Coull's by hand: 20 halves, 1.92 zeros and as many ones; 1.96 √(1.92 / 2 / 23.84²) = 0.081."""
    (found,) = shares(np.full((20, 1), 2.0), np.full((20, 1), 4.0))
    assert (found.value, found.high - 0.5, 0.5 - found.low) == pytest.approx((0.5, 0.0806, 0.0806), abs=1e-4)


def test_shares_of_many_inputs_have_the_interval_of_a_ratio():
    generator = np.random.default_rng(0)
    wholes = generator.integers(1, 5, size=(300, 1)).astype(float)
    parts = generator.binomial(wholes.astype(int), 0.4).astype(float)
    assert shares(parts, wholes) == ratios(parts, wholes)


def test_inputs_without_votes_are_left_out():
    parts, wholes = np.array([[3.0], [0.0], [np.nan], [1.0]]), np.array([[4.0], [0.0], [np.nan], [4.0]])
    assert shares(parts, wholes) == shares(parts[[0, 3]], wholes[[0, 3]])
    assert shares(parts[1:3], wholes[1:3])[0].value is None
    assert (shares(parts[:1], wholes[:1])[0].value, shares(parts[:1], wholes[:1])[0].low) == (0.75, None)


counts = st.integers(0, 40)


@given(both=counts, only_a=counts, only_b=counts, neither=counts)
def test_differences_are_the_other_way_round_when_the_systems_are(both, only_a, only_b, neither):
    ours = paired_difference(both, only_a, only_b, neither)
    other = paired_difference(both, only_b, only_a, neither)
    if ours.low is None:
        assert both + only_a + only_b + neither < 2
        return
    assert (ours.value, ours.low, ours.high) == pytest.approx((-other.value, -other.high, -other.low))
    assert -1 - 1e-9 <= ours.low <= ours.value <= ours.high <= 1 + 1e-9


def test_no_difference_in_few_inputs_is_not_certainty():
    """Both right on no item of 48: as uncertain as 0 of 48 is."""
    none = paired_difference(0, 0, 0, 48)
    assert none.value == 0
    assert none.high == -none.low == pytest.approx(wilson(0, 48).high)


def test_many_inputs_have_the_normal_interval():
    """Var[p_b - p_a] = (b + c - (b - c)²/n) / n²."""
    ours = paired_difference(40_000, 10_000, 12_000, 38_000)
    half = 1.96 * (22_000 - 2_000**2 / 100_000) ** 0.5 / 100_000
    assert (ours.low, ours.high) == pytest.approx((0.02 - half, 0.02 + half), abs=2e-5)


@pytest.mark.parametrize("shares", [(0.5, 0.1, 0.1, 0.3), (0.1, 0.05, 0.15, 0.7), (0.6, 0.15, 0.05, 0.2)])
def test_paired_differences_cover_by_enumeration(shares):
    """The exact probability that the interval of 20 inputs has the true difference."""
    n, covered = 20, 0.0
    for both, only_a, only_b in itertools.product(range(n + 1), repeat=3):
        neither = n - both - only_a - only_b
        if neither >= 0:
            interval = paired_difference(both, only_a, only_b, neither)
            if interval.low <= shares[2] - shares[1] <= interval.high:
                covered += multinomial.pmf([both, only_a, only_b, neither], n, shares)
    assert 0.94 <= covered <= 0.999
