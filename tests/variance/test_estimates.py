import math
from dataclasses import fields

import numpy as np
import pytest
import torch

from ketchup.estimators import Numbers
from ketchup.maths.tabular import random_world
from ketchup_eval.stats.bootstrap import Estimate
from ketchup_eval.variance import estimates
from ketchup_eval.variance.per_input import InputStatistics, PerInput, concatenate
from ketchup_eval.variance.theory import PIECES
from ketchup_eval.variance.variance_settings import estimators_of
from tests import reference
from tests.maths.strategies import TAILS

KS = [2, 3, 4]
ALL = [field.name for field in fields(InputStatistics) if field.name != "estimators"]
NAMES = [name for name in ALL if "_by_" not in name]
"""Those of which each row has one."""


def numbers_of(q, v, mask, **others):
    """[I, N, T] as estimators take them."""
    flat = {name: values.flatten(0, 1).double() for name, values in {"q": q, "v": v, **others}.items()}
    return Numbers(mask.flatten(0, 1), mask.shape[1], **flat)


def per_input_statistics(q, v, mask, ks, tail):
    """LLMR's, then those of each K."""
    return PerInput(estimators_of(ks, [tail], []), "raw")(numbers_of(q, v, mask))


def summarise(statistics):
    return estimates.summarise(statistics, "raw")


@pytest.fixture(scope="module")
def ragged():
    """q, v, mask of 6 inputs x 5 samples; two rollouts are absent, one input has only one left, padding is hostile."""
    generator = torch.Generator().manual_seed(4)
    q = 5 + torch.randn(6, 5, 11, generator=generator, dtype=torch.float64)
    v = q + torch.rand(6, 5, 11, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, 12, (6, 5), generator=generator)
    lengths[0, 0] = lengths[2, 3] = 0
    lengths[4, 1:] = 0
    mask = torch.arange(11) < lengths[:, :, None]
    return torch.where(mask, q, math.nan), torch.where(mask, v, math.inf), mask


def rollouts_of(ragged, i):
    """The rollouts of one input that are present, as lists."""
    q, v, mask = (x[i] for x in ragged)
    return [(a[m].tolist(), b[m].tolist()) for a, b, m in zip(q, v, mask, strict=True) if m.any()]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def terms_of_first_return(q, v, k, tail, width):
    """Ĝ_0 as `width` terms: q_0, then the advantage of each position looked at and 0 for each that is not."""
    positions = reference.visited(len(q), 0, k, tail)
    return [q[0]] + [q[i] - v[i] if i in positions else 0.0 for i in range(1, width)]


def literal(rollouts, k, tail):
    """Each statistic of one input, by its definition."""
    n = len(rollouts)
    estimates = [reference.k_step_returns(q, v, k, tail) for q, v in rollouts]
    excess = [
        [g - full for g, full in zip(estimate, reference.reward_to_go(q, v), strict=True)]
        for estimate, (q, v) in zip(estimates, rollouts, strict=True)
    ]
    width = max(map(len, estimates))
    by_position = [[row[t] for row in estimates if len(row) > t] for t in range(width)]
    excess_by_position = [[row[t] for row in excess if len(row) > t] for t in range(width)]
    shared = [t for t in range(width) if len(by_position[t]) >= 2]
    actions = sum(len(by_position[t]) for t in shared)
    first_excess = [row[0] for row in excess]
    variance = reference.unbiased_variance([row[0] for row in estimates])
    terms = [terms_of_first_return(q, v, k, tail, width) for q, v in rollouts]
    return {
        "variance": variance,
        "bias": mean(first_excess),
        "variance_mean_t": sum(
            len(by_position[t]) * reference.unbiased_variance(by_position[t]) for t in shared
        ) / actions,
        "bias_mean_t": sum(sum(excess_by_position[t]) for t in shared) / actions,
        "mse": variance + mean(first_excess) ** 2 - reference.unbiased_variance(first_excess) / n,
        "independent": sum(reference.unbiased_variance(column) for column in zip(*terms, strict=True)),
        "terms": mean(len(reference.visited(len(q), 0, k, tail)) for q, _ in rollouts),
        "same_as_llmr": sum(
            reference.visited(len(q), t, k, tail) == list(range(t, len(q))) for q, _ in rollouts for t in range(len(q))
        ),
        **literal_pieces(rollouts, k, tail),
    }  # fmt: skip


def literal_pieces(rollouts, k, tail):
    """What positions, states, steps and lengths add to Var[Ĝ_0], as ketchup_eval/variance/theory.py defines them."""
    width = max(len(q) for q, _ in rollouts)
    kept = [reference.visited(len(q), 0, k, tail) for q, _ in rollouts]
    values = [(q, [0.0, *v[1:]]) for q, v in rollouts]  # v_0 is in no term

    def centred(which, i):
        """The value at i of each rollout less the mean of those that have one; 0 where it is skipped or absent."""
        middle = mean(value[which][i] for value in values if len(value[which]) > i)
        return [value[which][i] - middle if i in seen else 0.0 for value, seen in zip(values, kept, strict=True)]

    q, v = ([centred(which, i) for i in range(width)] for which in (0, 1))
    terms = [[x - y for x, y in zip(*pair, strict=True)] for pair in zip(q, v, strict=True)]
    rest = [sum(column) for column in zip(*terms, strict=True)]
    first = [reference.k_step_returns(q, v, k, tail)[0] for q, v in rollouts]
    means = [g - d for g, d in zip(first, rest, strict=True)]
    pairs = [(i, j) for i in range(width) for j in range(width) if i != j]
    return {
        "positions": sum(reference.unbiased_variance(column) for column in [*q, *v]),
        "states": -2 * sum(reference.unbiased_covariance(q[i], v[i]) for i in range(width)),
        "steps": sum(reference.unbiased_covariance(terms[i], terms[j]) for i, j in pairs),
        "lengths": reference.unbiased_variance(means) + 2 * reference.unbiased_covariance(means, rest),
    }


def literal_slices(rollouts, k, tail):
    """By bin of t, and by bin of length: first and last, how many, variance and bias, of one input."""
    estimates = [reference.k_step_returns(q, v, k, tail) for q, v in rollouts]
    full = [reference.reward_to_go(q, v) for q, v in rollouts]
    positions, lengths = [], []
    for first, last in ((0, 0), (1, 1), (2, 3), (4, 7), (8, 15)):
        rows = {t: [n for n, row in enumerate(estimates) if len(row) > t] for t in range(first, last + 1)}
        rows = {t: found for t, found in rows.items() if len(found) >= 2}
        count = sum(map(len, rows.values()))
        if rows:
            variance = sum(len(n) * reference.unbiased_variance([estimates[i][t] for i in n]) for t, n in rows.items())
            bias = sum(estimates[i][t] - full[i][t] for t, n in rows.items() for i in n)
            positions.append((first, last, count, variance / count, bias / count))
        inside = [n for n, row in enumerate(estimates) if first <= len(row) <= last]
        if len(inside) >= 2 and last:
            variance = reference.unbiased_variance([estimates[n][0] for n in inside])
            lengths.append((first, last, len(inside), variance, mean(estimates[n][0] - full[n][0] for n in inside)))
    return positions, lengths


# Statistics of each input


@pytest.mark.parametrize("tail", TAILS)
def test_every_statistic_is_its_definition(ragged, tail):
    found = per_input_statistics(*ragged, KS, tail)
    for i in [0, 1, 2, 3, 5]:
        for column, k in enumerate([1, *KS]):
            expected = literal(rollouts_of(ragged, i), k, tail)
            assert {name: getattr(found, name)[i, column] for name in NAMES} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("tail", TAILS)
def test_variance_splits_exactly_into_terms_and_their_covariances(ragged, tail):
    found = per_input_statistics(*ragged, KS, tail)
    for i in [0, 1, 2, 3, 5]:
        rollouts = rollouts_of(ragged, i)
        for column, k in enumerate([1, *KS]):
            terms = [terms_of_first_return(q, v, k, tail, 11) for q, v in rollouts]
            first = [reference.k_step_returns(q, v, k, tail)[0] for q, v in rollouts]
            assert [sum(row) for row in terms] == pytest.approx(first)
            columns = list(zip(*terms, strict=True))
            pairs = sum(
                reference.unbiased_covariance(columns[a], columns[b]) for a in range(11) for b in range(11) if a != b
            )
            rest = found.variance[i, column] - found.independent[i, column]
            assert rest == pytest.approx(pairs, abs=1e-9)


@pytest.mark.parametrize("tail", TAILS)
def test_the_pieces_of_the_variance_add_up_to_it(ragged, tail):
    found = per_input_statistics(*ragged, KS, tail)
    np.testing.assert_allclose(sum(getattr(found, name) for name in PIECES), found.variance, atol=1e-9)


@pytest.mark.parametrize("tail", TAILS)
def test_slices_by_position_and_by_length_are_their_definition(ragged, tail):
    for i in (0, 1, 2, 3, 5):
        estimates = summarise(per_input_statistics(*(x[i : i + 1] for x in ragged), KS, tail))
        for k, estimate in zip([1, *KS], estimates, strict=True):
            expected = literal_slices(rollouts_of(ragged, i), k, tail)
            for found, wanted in zip((estimate.by_position, estimate.by_length), expected, strict=True):
                rows = [(s.first, s.last, s.count, s.variance.value, s.bias.value) for s in found]
                assert rows == [pytest.approx(row, abs=1e-9) for row in wanted]


def test_an_input_with_one_rollout_is_absent_from_everything(ragged):
    found = per_input_statistics(*ragged, KS, "segment")
    for name in ALL:
        assert np.isnan(getattr(found, name)[4]).all()
    for name in NAMES:
        assert np.isnan(getattr(found, name)).any(axis=1).tolist() == [False] * 4 + [True, False]
        assert np.isnan(getattr(found, name)[4]).all()


@pytest.mark.parametrize("tail", TAILS)
def test_blocks_join_to_the_whole(ragged, tail):
    whole = per_input_statistics(*ragged, KS, tail)
    reduce = PerInput(estimators_of(KS, [tail], []), "raw")
    joined = concatenate([reduce(numbers_of(*(x[rows] for x in ragged))) for rows in (slice(0, 1), slice(1, 6))])
    for name in NAMES:
        np.testing.assert_allclose(getattr(joined, name), getattr(whole, name), rtol=1e-12)


def test_llmr_comes_first_and_each_row_once(ragged):
    rows = estimators_of([4, 2, 4, 1], ["segment"], ["k-step:2", "llmr", "k-step:2:one-step"])
    assert [row.signature("raw").removesuffix("|gauge:raw") for row in rows] == [
        "k-step:1|tail:segment", "k-step:2|tail:segment", "k-step:4|tail:segment", "llmr", "k-step:2|tail:one-step",
    ]  # fmt: skip
    found = PerInput(rows, "raw")(numbers_of(*ragged))
    assert [row.name for row in found.estimators[:2]] == ["llmr", "k-step:1"]
    for name in NAMES:
        column = getattr(found, name)
        np.testing.assert_array_equal(column[:, 0], column[:, 1])


def test_a_constant_per_state_moves_only_the_averages_over_t(ragged):
    q, v, mask = ragged
    generator = torch.Generator().manual_seed(9)
    constant = 3 * torch.randn(mask.shape, generator=generator, dtype=torch.float64)
    constant[:, :, 0] = constant[:, :1, 0]  # samples of one input share their first state
    before = per_input_statistics(q, v, mask, KS, "one-step")
    after = per_input_statistics(q + constant, v + constant, mask, KS, "one-step")
    for name in NAMES:
        if name in ("positions", "states"):
            continue
        if name == "variance_mean_t":
            assert (np.nanmean(after.variance_mean_t, axis=0) > 2 * np.nanmean(before.variance_mean_t, axis=0)).all()
        else:
            np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=1e-9)
    together = [s.positions + s.states for s in (before, after)]
    np.testing.assert_allclose(*together, atol=1e-9)


# Averages over inputs


@pytest.mark.parametrize(("tail", "shares"), [("segment", [8, 2, 2, 2]), ("one-step", [8, 4, 6, 8])])
def test_same_as_llmr_by_hand(tail, shares):
    # Two rollouts of 5 and 3 actions. A K > 1 leaves the two last actions alone; with one-step tails it leaves alone
    # all that have fewer than K actions after them: 2 and 2 of them for K = 2, 3 and 3 for K = 3, all for K = 5.
    mask = torch.arange(5) < torch.tensor([[[5], [3]]])
    q = torch.zeros(1, 2, 5)
    found = summarise(per_input_statistics(q, q, mask, [2, 3, 5], tail))
    assert [estimate.same_as_llmr.value for estimate in found] == [share / 8 for share in shares]


@pytest.mark.parametrize("tail", TAILS)
def test_theory_ratio_comes_from_the_lengths(tail):
    # Lengths 5 and 8, so 4 and 7 actions after the first. K = 3 has 2 and 3 terms with segments, 2 + 1 and 3 + 1 with
    # one-step tails; K = 1 has 5 and 8.
    mask = torch.arange(8) < torch.tensor([[[5], [8]]])
    q = torch.zeros(1, 2, 8)
    _, three = summarise(per_input_statistics(q, q, mask, [3], tail))
    assert three.theory_ratio.value == pytest.approx({"segment": 5 / 13, "one-step": 7 / 13}[tail])


def width(estimate):
    """That of the interval; 0 where inputs are all alike, as they are by definition for K = 1 against itself."""
    return 0.0 if estimate.low is None else estimate.high - estimate.low


def test_independent_terms_follow_theorem_1():
    # Equal lengths and q, v independent across time: each term has variance 1, so all three ratios agree.
    generator = torch.Generator().manual_seed(6)
    q = torch.randn(2000, 8, 13, generator=generator, dtype=torch.float64)
    v, mask = torch.zeros_like(q), torch.ones_like(q, dtype=torch.bool)
    for tail in TAILS:
        for estimate in summarise(per_input_statistics(q, v, mask, [2, 4, 8], tail)):
            for ratio in (estimate.variance_ratio, estimate.independent_ratio):
                assert abs(ratio.value - estimate.theory_ratio.value) <= width(ratio)
            assert abs(estimate.covariance.value) <= width(estimate.covariance)


@pytest.mark.parametrize("tail", TAILS)
def test_k_of_one_is_its_own_reference(ragged, tail):
    one, *others = summarise(per_input_statistics(*ragged, KS, tail))
    assert (one.estimator, one.k) == ("llmr|gauge:raw", None)
    assert {one.variance_ratio, one.independent_ratio, one.theory_ratio, one.same_as_llmr} == {
        Estimate(1, None, None, 5)
    }
    assert one.bias == Estimate(0, None, None, 5)
    assert one.mse == one.variance
    assert [other.k for other in others] == [2, 3, 4]
    for other in others:
        assert other.variance.value == pytest.approx(other.independent.value + other.covariance.value)
        assert other.variance_ratio.value == pytest.approx(other.variance.value / one.variance.value)
        assert other.bias.low > 0


@pytest.mark.parametrize("tail", TAILS)
def test_estimates_agree_with_a_world_known_exactly(tail):
    inputs, samples = 400, 60
    world = random_world(seed=1)
    drawn = world.sample(inputs * samples, torch.Generator().manual_seed(1))
    q, v, mask = (x.view(inputs, samples, -1) for x in (drawn.q, drawn.v, drawn.mask))
    one = exact(world, 1, tail)
    for estimate in summarise(per_input_statistics(q, v, mask, KS, tail)):
        truth = exact(world, estimate.k or 1, tail)
        truth |= {f"{name}_ratio": truth[name] / one[name] for name in ("variance", "independent")}
        truth |= {"theory_ratio": truth.pop("terms") / one["terms"], "same_as_llmr": truth.pop("same") / one["same"]}
        for name, value in truth.items():
            found = getattr(estimate, name)
            # The whole width of a 95% interval is just short of four standard errors.
            assert abs(found.value - value) <= width(found) + 1e-9, (estimate.k, name)


def exact(world, k, tail):
    """The same quantities of the world, as sums over its list of rollouts."""

    def g_hat(t):
        return lambda r: reference.returns_in(world, r, k, tail)[t]

    def excess(t):
        return lambda r: reference.returns_in(world, r, k, tail)[t] - reference.returns_in(world, r, 1, tail)[t]

    def term(i):
        return lambda r: terms_of_first_return(*world.values(r), k, tail, world.horizon)[i]

    def same(r):
        return sum(reference.visited(len(r), t, k, tail) == list(range(t, len(r))) for t in range(len(r)))

    times = range(world.horizon)
    actions = sum(map(world.survival, times))
    variance = world.central_moment(g_hat(0))
    bias = world.expectation(excess(0))
    independent = sum(world.central_moment(term(i)) for i in times)
    return {
        "variance": variance,
        "bias": bias,
        "variance_mean_t": sum(world.survival(t) * world.central_moment(g_hat(t), t=t) for t in times) / actions,
        "bias_mean_t": sum(world.survival(t) * world.expectation(excess(t), t) for t in times) / actions,
        "mse": world.expectation(
            lambda r: (g_hat(0)(r) - world.expectation(lambda x: reference.returns_in(world, x, 1, tail)[0])) ** 2
        ),
        "independent": independent,
        "covariance": variance - independent,
        "terms": world.expectation(lambda r: len(reference.visited(len(r), 0, k, tail))),
        "same": world.expectation(same),
    }


# Theorem 1's gap


@pytest.mark.parametrize("tail", TAILS)
def test_the_gap_is_the_sum_of_its_pieces(ragged, tail):
    one, *others = summarise(per_input_statistics(*ragged, KS, tail))
    assert set(vars(one.theory_gap).values()) == {Estimate(0, None, None, 5)}
    for other in others:
        gap = other.theory_gap
        assert gap.total.value == pytest.approx(other.variance_ratio.value - other.theory_ratio.value, abs=1e-12)
        assert gap.total.value == pytest.approx(sum(getattr(gap, name).value for name in PIECES), abs=1e-12)
        assert gap.total.low < gap.total.value < gap.total.high


def made(piece):
    """q, v, mask of 2000 inputs x 8 samples x 12 actions that depart from Theorem 1 in one respect alone."""
    generator = torch.Generator().manual_seed(3)
    q, v = (torch.randn(2000, 8, 12, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = torch.ones_like(q, dtype=torch.bool)
    v[:, :, 0] = 0
    if piece == "positions":
        q, v = q * (1 + torch.arange(12) % 2), v * (1 + torch.arange(12) % 2)  # K = 2 keeps the less variable ones
    elif piece == "states":
        v[:, :, 1::2] = q[:, :, 1::2]  # A = 0 where K = 2 does not look
    elif piece == "steps":
        q = q + torch.randn(2000, 8, 1, generator=generator, dtype=torch.float64)
    elif piece == "lengths":
        v = v + 2
        mask = torch.arange(12) < torch.randint(6, 13, (2000, 8, 1), generator=generator)
    return q, v, mask


@pytest.mark.parametrize("piece", ["nothing", "positions", "states", "steps", "lengths"])
def test_a_departure_from_the_theorem_shows_in_its_own_piece(piece):
    _, two = summarise(per_input_statistics(*made(piece), [2], "segment"))
    for name in PIECES:
        found = getattr(two.theory_gap, name)
        if name == piece:
            assert abs(found.value) > 0.05
            assert abs(found.value) > 5 * width(found)
        else:
            # v_0 is the same in all rollouts of an input, which the theorem does not say: 1 of 24 variances
            assert abs(found.value) < width(found) + 0.03, name


# Errors


def test_one_sample_has_no_variance():
    x = torch.zeros(3, 1, 4)
    with pytest.raises(ValueError, match="at least 2 samples per input, not 1"):
        per_input_statistics(x, x, x == 0, KS, "segment")


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_a_value_that_is_not_finite_is_refused(bad):
    x = torch.zeros(3, 2, 4)
    q = x.clone()
    q[1, 1, 3] = bad
    with pytest.raises(ValueError, match="not finite"):
        per_input_statistics(q, x, x == 0, KS, "segment")


def test_blocks_of_unlike_measurements_do_not_join(ragged):
    whole = per_input_statistics(*ragged, KS, "segment")
    with pytest.raises(ValueError, match="one-step"):
        concatenate([whole, per_input_statistics(*ragged, KS, "one-step")])
    with pytest.raises(ValueError, match=r"of llmr.*k-step:4.* and of llmr.*k-step:8.* do not join"):
        concatenate([whole, per_input_statistics(*ragged, [8], "segment")])
