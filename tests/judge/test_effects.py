"""Effects of judges whose faults are known: exact where they never waver, within the intervals where they do."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketchup_eval.judge.effects import A_FIRST, A_IS_A, effects, krippendorff_alpha
from ketchup_eval.stats.bootstrap import Bootstrap
from ketchup_eval.stats.proportions import wilson
from tests.judge.votes import planted


def effects_of(votes, lengths=None, soft=None, resamples=200):
    votes = np.asarray(votes, float)
    lengths = np.full((len(votes), 2), 10.0) if lengths is None else np.asarray(lengths, float)
    soft = np.full(votes.shape, np.nan) if soft is None else soft
    return effects(votes, lengths, soft, Bootstrap(len(votes), seed=0, resamples=resamples))


def always(row):
    return effects_of(np.tile(row, (20, 1)))


def test_a_judge_that_always_says_a_has_a_vote_share_of_exactly_half_and_a_full_id_effect():
    found = always(A_IS_A)
    assert found.vote_share.value == 0.5
    assert 0.4 < found.vote_share.low < 0.5 < found.vote_share.high < 0.6, "20 items that agree are no certainty"
    assert (found.id.value, found.position.value, found.interaction.value) == (1, 0, 0)
    assert (found.tied.value, found.consistent.value) == (1, 0)
    assert found.consistent.high > 0.1, "20 items cannot show that no vote is ever consistent"
    assert found.p_value == 1


def test_a_judge_that_always_picks_the_first_shown_has_a_full_position_effect():
    found = always(A_FIRST)
    assert found.vote_share.value == 0.5
    assert (found.position.value, found.id.value, found.interaction.value) == (1, 0, 0)
    assert always(-A_FIRST).position.value == -1


def test_a_judge_that_knows_what_it_wants_has_no_bias():
    found = always(np.ones(4))
    assert (found.vote_share.value, found.majority_a.value, found.consistent.value) == (1, 1, 1)
    assert (found.position.value, found.id.value, found.interaction.value) == (0, 0, 0)
    assert found.p_value < 0.001


def test_the_classic_swap_cannot_see_biases_that_cancel():
    """Where "A" is always shown first, place and ID are one: +0.2 and -0.2 look like none."""
    votes, lengths = planted(3000, seed=1, position=0.2, id=-0.2)
    found = effects_of(votes, lengths)
    a_named_in_order = votes[:, A_FIRST == A_IS_A]
    assert abs((a_named_in_order * A_FIRST[A_FIRST == A_IS_A]).mean()) < 0.03
    assert found.position.value == pytest.approx(0.2, abs=0.03)
    assert found.id.value == pytest.approx(-0.2, abs=0.03)


def test_no_share_or_effect_is_certain_of_a_few_items_that_agree():
    """5 of 5 items, all four votes: Wilson's 57% for items, as an item's votes are not independent draws."""
    found = effects_of(np.ones((5, 4)), lengths=np.tile([20.0, 10.0], (5, 1)), soft=np.ones((5, 4)))
    for name in ("vote_share", "complete_share", "majority_a", "consistent", "longer", "soft_share"):
        estimate = getattr(found, name)
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((1, wilson(5, 5).low, 1)), name
    for name in ("position", "id", "interaction"):
        estimate = getattr(found, name)
        assert estimate.low == pytest.approx(-estimate.high), name
        assert estimate.high > 0.3, name
    assert (found.alpha.value, found.equal_length.low) == (None, None)
    always_first = effects_of(np.tile(A_FIRST, (5, 1))).position
    assert (always_first.value, always_first.low) == pytest.approx((1, 2 * wilson(5, 5).low - 1))


PLANTED = {"main": 0.1, "position": 0.2, "id": -0.15, "spread": 0.2, "length": 0.15}


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_planted_effects_are_within_their_intervals_at_the_stated_rate(missing):
    """The rate of 200 intervals at 95% is below 0.9 or above 0.99 less often than once in 400 (binomial)."""
    inside = {"vote_share": 0, "position": 0, "id": 0, "interaction": 0, "equal_length": 0, "length_slope": 0}
    truth = {"vote_share": 0.55, "position": 0.2, "id": -0.15, "interaction": 0, "equal_length": 0.55}
    truth["length_slope"] = 0.15
    for seed in range(200):
        found = effects_of(*planted(150, seed, missing=missing, **PLANTED))
        for name, value in truth.items():
            estimate = getattr(found, name)
            inside[name] += estimate.low <= value <= estimate.high
    assert all(180 <= count <= 199 for count in inside.values()), inside


def test_an_interval_over_votes_is_too_short_where_items_differ():
    """Four votes on an item are not four samples: their naive interval misses far more than one time in twenty."""
    over_items = over_votes = 0
    for seed in range(200):
        votes, lengths = planted(150, seed, main=0.1, spread=0.7)
        found = effects_of(votes, lengths).vote_share
        over_items += found.low <= 0.55 <= found.high
        half = 1.96 * np.sqrt(found.value * (1 - found.value) / votes.size)
        over_votes += abs(found.value - 0.55) <= half
    assert over_items >= 180
    assert over_votes <= 170


def test_p_values_of_a_biased_judge_are_uniform_where_the_systems_are_alike():
    p_values = [
        effects_of(*planted(40, seed, position=0.4, id=0.3, spread=0.2), resamples=2).p_value for seed in range(200)
    ]
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.09


def literal_alpha(votes):
    """Krippendorff's coincidence matrix, pair by pair."""
    units = [[v for v in row if not np.isnan(v)] for row in votes]
    units = [unit for unit in units if len(unit) >= 2]
    values = [v for unit in units for v in unit]
    n = len(values)
    observed = sum(2 * (x != y) / (len(unit) - 1) for unit in units for x, y in combinations(unit, 2)) / n
    expected = sum(2 * (x != y) for x, y in combinations(values, 2)) / (n * (n - 1))
    return 1 - observed / expected if expected else None


@given(st.lists(st.lists(st.sampled_from([1.0, -1.0, np.nan]), min_size=4, max_size=4), min_size=2, max_size=12))
def test_alpha_is_the_literal_one(rows):
    votes = np.array(rows)
    if (~np.isnan(votes)).sum(axis=1).max() < 2:
        return
    found = krippendorff_alpha(votes, Bootstrap(len(votes), seed=0, resamples=2)).value
    expected = literal_alpha(votes)
    assert found is None if expected is None else found == pytest.approx(expected)


def test_alpha_of_independent_votes_is_near_zero_and_of_equal_ones_exactly_one():
    votes, _ = planted(2000, seed=4)
    assert effects_of(votes).alpha.value == pytest.approx(0, abs=0.03)
    assert effects_of([[1] * 4, [-1] * 4] * 5).alpha.value == 1
    assert always(np.ones(4)).alpha.value is None


def test_by_hand_with_missing_votes():
    """Items: 4 of 4, 1 of 2, 0 of 1, none of 0 votes for a. 5 of 7 parsed; 9 missing of 16."""
    nan = np.nan
    votes = [[1, 1, 1, 1], [1, nan, -1, nan], [nan, nan, nan, -1], [nan] * 4]
    found = effects_of(votes, lengths=[[20, 10], [10, 20], [10, 10], [9, 1]])
    assert found.vote_share.value == 5 / 7
    assert found.vote_share.n == 3
    assert (found.lowest, found.highest) == (5 / 16, 14 / 16)
    assert (found.complete_share.value, found.complete_share.n) == (1, 1)
    assert found.longer.value == 5 / 6
    assert found.soft_share.value is None


def test_the_line_through_lengths():
    """Shares 1, 0.5, 0 at gaps 1/3, 0, -1/3: slope 1.5, half at equal length."""
    votes = [[1, 1, 1, 1], [1, 1, -1, -1], [-1, -1, -1, -1]]
    found = effects_of(votes, lengths=[[20, 10], [10, 10], [10, 20]])
    assert found.length_slope.value == pytest.approx(1.5)
    assert found.equal_length.value == pytest.approx(0.5)
    assert not found.extrapolated
    assert effects_of(votes, lengths=[[20, 10], [30, 10], [40, 10]]).extrapolated
    assert effects_of(votes).equal_length.value is None


def test_soft_share():
    soft = np.array([[0.9, 0.7, np.nan, np.nan], [0.2, 0.2, 0.2, 0.2]])
    assert effects_of(np.ones((2, 4)), soft=soft).soft_share.value == pytest.approx((1.6 + 0.8) / 6)
