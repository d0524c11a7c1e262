"""Rank correlation of two quantities of the same inputs."""

import math
from collections.abc import Sequence
from itertools import permutations

import numpy as np
from scipy.stats import rankdata, spearmanr

from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.corpus import percentile_estimate


def spearman(x: Array, y: Array, seed: int, resamples: int = 2000) -> Estimate:
    """Spearman's ρ of `x[n]` and `y[n]`, ties at mid-rank, with a percentile bootstrap over inputs.

    Every resample is ranked anew. Without a value where one of the two is constant; without bounds where that
    happens in too many of the resamples (`corpus.defined`).
    """
    n = len(x)
    value = float(rank_correlations(x[None], y[None])[0]) if n > 1 else np.nan
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n)) if n > 1 else np.zeros((1, n), dtype=int)
    rho = np.concatenate(
        [rank_correlations(x[rows], y[rows]) for rows in np.array_split(drawn, max(1, len(drawn) // 100))]
    )
    return percentile_estimate(value, rho, n)


MOST_FOR_EXACT = 8
"""Pairs of which all orders are tried: 40,320 of eight."""
Z95 = 1.959963984540054


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> tuple[Estimate, float | None]:
    """Spearman's ρ of a few pairs, with Bonett and Wright's (2000) interval and a two-sided p-value.

    The interval is tanh(artanh ρ ± 1.96 √((1 + ρ²/2) / (n - 3))), for four pairs or more that are not in perfect order.
    The p-value counts orders of one side that have as much correlation, all of them up to eight pairs; above, that of
    Student's t. Neither is there where one side is constant.
    """
    x, y = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    n = len(pairs)
    rho = float(rank_correlations(x[None], y[None])[0]) if n > 1 else math.nan
    if math.isnan(rho):
        return Estimate(None, None, None, n), None
    low = high = None
    if n > 3 and abs(rho) < 1 - 1e-12:
        half = Z95 * math.sqrt((1 + rho**2 / 2) / (n - 3))
        low, high = (math.tanh(math.atanh(rho) + side * half) for side in (-1, 1))
    if n > MOST_FOR_EXACT:
        return Estimate(rho, low, high, n), float(spearmanr(x, y).pvalue)
    orders = np.array(list(permutations(y)))
    others = rank_correlations(np.broadcast_to(x, orders.shape), orders)
    return Estimate(rho, low, high, n), float((np.abs(others) >= abs(rho) - 1e-12).mean())


def rank_correlations(x: Array, y: Array) -> Array:
    """Spearman's ρ of each pair of rows of `x[r, n]` and `y[r, n]`, NaN where a row is constant."""
    ranks = [rankdata(values, axis=1) for values in (x, y)]
    first, second = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        rho: Array = np.where(scale == 0, np.nan, (first * second).sum(axis=1) / scale)
    return rho
