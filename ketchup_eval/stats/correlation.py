"""Rank correlation of two quantities of the same items."""

import numpy as np
from scipy.stats import rankdata

from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.corpus import percentile_estimate


def spearman(x: Array, y: Array, seed: int, resamples: int = 2000) -> Estimate:
    """Spearman's ρ of `x[n]` and `y[n]`, ties at mid-rank, with a percentile bootstrap over items.

    Every resample is ranked anew. Without a value where one of the two is constant; without bounds where that
    happens in more than a hundredth of the resamples (the others are left out).
    """
    n = len(x)
    value = float(_rho(x[None], y[None])[0]) if n > 1 else np.nan
    drawn = np.random.default_rng(seed).integers(n, size=(resamples, n)) if n > 1 else np.zeros((1, n), dtype=int)
    rho = np.concatenate([_rho(x[rows], y[rows]) for rows in np.array_split(drawn, max(1, len(drawn) // 100))])
    known = rho[~np.isnan(rho)]
    enough = len(known) >= 0.99 * len(rho)
    return percentile_estimate(value, known if enough else np.array([np.nan]), n)


def _rho(x: Array, y: Array) -> Array:
    """ρ of each pair of rows of `x[r, n]` and `y[r, n]`, NaN where a row is constant."""
    ranks = [rankdata(values, axis=1) for values in (x, y)]
    first, second = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    scale = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        rho: Array = np.where(scale == 0, np.nan, (first * second).sum(axis=1) / scale)
    return rho
