"""Whether an order that was foretold came true: of several arms, at several places, from several runs of each."""

import math
from collections.abc import Sequence
from itertools import permutations

import numpy as np

from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.corpus import defined
from ketchup_eval.stats.correlation import rank_correlations

MOST_FOR_EXACT = 7
"""Arms of which all orders are tried: 5,040 of seven."""
DRAWN_ORDERS = 5_000
FEWEST_FOR_BOUNDS = 5
"""Arms below which resampling them says nothing: too many resamples hold two or three of them."""


def mean_rank_correlation(
    foretold: Array, reached: Sequence[Sequence[Sequence[float]]], seed: int, resamples: int = 2000
) -> tuple[Estimate, float | None]:
    """The mean over places of Spearman's ρ between `foretold[p, a]` and the means of the runs `reached[p][a]`.

    The interval resamples all that another study would have drawn anew: places, arms (the same ones at each place, as
    a method is the same method for every student) and the runs of each arm, and takes percentiles; with one place it
    is for that place alone. Below five arms there is none. The two-sided p-value is that of the arms' order being
    without meaning: arms are exchanged alike at all places, in every way up to seven of them, else in 5,000 drawn
    ways and the order itself. Neither is there where one side is constant at a place.
    """
    places, arms = foretold.shape
    means = np.array([[float(np.mean(runs)) for runs in place] for place in reached]).reshape(places, arms)
    rho = rank_correlations(foretold, means) if places and arms > 1 else np.array([math.nan])
    value = float(rho.mean())
    if math.isnan(value):
        return Estimate(None, None, None, places * arms), None
    draw = np.random.default_rng(seed)
    low = high = None
    if arms >= FEWEST_FOR_BOUNDS:
        drawn = _resampled(foretold, reached, draw, resamples)
        known = defined(drawn)
        if known is not None:
            low, high = (float(end) for end in np.percentile(known, [2.5, 97.5]))
    return Estimate(value, low, high, places * arms), _p_value(foretold, means, value, draw)


def _resampled(
    foretold: Array, reached: Sequence[Sequence[Sequence[float]]], draw: np.random.Generator, resamples: int
) -> Array:
    """The statistic of each resample; places where one side happens to be constant are left out of its mean."""
    places, arms = foretold.shape
    means = np.empty((resamples, places, arms))
    for p, a in np.ndindex(places, arms):
        runs = np.array(reached[p][a])
        means[:, p, a] = runs[draw.integers(len(runs), size=(resamples, len(runs)))].mean(axis=1)
    at = draw.integers(places, size=(resamples, places))[:, :, None]
    columns = draw.integers(arms, size=(resamples, arms))[:, None, :]
    there = np.arange(resamples)[:, None, None]
    rho = rank_correlations(foretold[at, columns].reshape(-1, arms), means[there, at, columns].reshape(-1, arms))
    by_place = rho.reshape(resamples, places)
    known = ~np.isnan(by_place)
    with np.errstate(invalid="ignore"):
        found: Array = np.where(known, by_place, 0.0).sum(axis=1) / known.sum(axis=1)
    return found


def _p_value(foretold: Array, means: Array, value: float, draw: np.random.Generator) -> float:
    arms = foretold.shape[1]
    if arms <= MOST_FOR_EXACT:
        orders = np.array(list(permutations(range(arms))))
    else:
        orders = np.array([np.arange(arms), *(draw.permutation(arms) for _ in range(DRAWN_ORDERS))])
    by_place = [
        rank_correlations(np.broadcast_to(one, orders.shape), other[orders])
        for one, other in zip(foretold, means, strict=True)
    ]
    return float((np.abs(np.mean(by_place, axis=0)) >= abs(value) - 1e-12).mean())
