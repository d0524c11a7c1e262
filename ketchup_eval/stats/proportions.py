"""Shares of inputs and of their votes: an interval for one, and with an exact test for two on the same inputs."""

from statistics import NormalDist

import numpy as np
from scipy.special import bdtr

from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.intervals import LEVEL, ratios


def wilson(successes: int, n: int, level: float = LEVEL) -> Estimate:
    """The share `successes / n` with Wilson's (1927) score interval; without bounds below two inputs.

    It keeps near its level for small n and for shares near 0 and 1, where a bootstrap of equal inputs has no width.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share")
    if n == 0:
        return Estimate(None, None, None, 0)
    if n < 2:
        return Estimate(successes / n, None, None, n)
    return Estimate(successes / n, *_score_bounds(successes / n, n, level), n)


def shares(parts: Array, wholes: Array, level: float = LEVEL) -> list[Estimate]:
    """The share Σ parts / Σ wholes of each column of two arrays [n, m], inputs being the independent draws.

    An input's own share, 0 ≤ part ≤ whole, may be any number: half of its votes, say. NaN leaves an input out.

    * The interval is that of a ratio of means (`intervals.ratios`), as votes of one input are no independent draws,
    * but nowhere outside of Wilson's for n whole inputs: none between 0 and 1 differ more than such that are 0 or 1.
    * Where all inputs are 0 or 1, as where all are 0 or all 1, it is Wilson's. Few equal inputs are no certainty.
    * Where all have one share in between, it is that of Agresti and Coull (1998): z²/2 inputs of each kind are added.

    Unequal wholes count as (Σ w)² / Σ w² equal ones.
    """
    wholes = np.where(wholes > 0, wholes, np.nan)
    found, own = ratios(parts, wholes, level), parts / wholes
    return [
        estimate
        if estimate.value is None or estimate.n < 2
        else _of_bounded(estimate, own[:, column], wholes[:, column], level)
        for column, estimate in enumerate(found)
    ]


def _of_bounded(estimate: Estimate, own: Array, weights: Array, level: float) -> Estimate:
    known = ~np.isnan(own)
    own, weights, share = own[known], weights[known], float(estimate.value or 0)
    n = float(weights.sum() ** 2 / (weights**2).sum())
    low, high = _score_bounds(share, n, level)
    if ((own == 0) | (own == 1)).all():
        return Estimate(share, low, high, estimate.n)
    if estimate.low is None or estimate.high is None:
        low, high = _pseudo_input_bounds(share, n, level)
        return Estimate(share, low, high, estimate.n)
    return Estimate(share, max(low, estimate.low), min(high, estimate.high), estimate.n)


def _score_bounds(share: float, n: float, level: float) -> tuple[float, float]:
    """Wilson's bounds."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return 0.0 if share == 0 else centre - half, 1.0 if share == 1 else centre + half


def _pseudo_input_bounds(share: float, n: float, level: float) -> tuple[float, float]:
    """Bounds for n inputs of one share, with z²/2 inputs of share 0 and as many of share 1 beside them."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    count = n + z**2
    mean = (n * share + z**2 / 2) / count
    half = z * (((n * share**2 + z**2 / 2) / count - mean**2) / count) ** 0.5
    return max(0.0, mean - half), min(1.0, mean + half)


def paired_difference(both: int, only_a: int, only_b: int, neither: int, level: float = LEVEL) -> Estimate:
    """The share right in b minus that in a, of the same inputs; Newcombe's (1998, paired data) method 10.

    Wilson's intervals of the two shares are combined as if from correlated estimates, φ being the correlation of the
    two columns less a correction for continuity:

        low  = d - √(x² - 2 φ x y + y²), x = p_b - low_b, y = high_a - p_a, and with the ends exchanged for high.

    Two systems that are right on the same inputs have an interval of some width, where a bootstrap has none; below two
    inputs there are no bounds.
    """
    n = both + only_a + only_b + neither
    a, b = wilson(both + only_a, n, level), wilson(both + only_b, n, level)
    if a.value is None or b.value is None:
        return Estimate(None, None, None, 0)
    difference = (only_b - only_a) / n
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Estimate(difference, None, None, n)
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    together = both * neither - only_a * only_b
    corrected = max(together - n / 2, 0) if together > 0 else together
    phi = corrected / margins**0.5 if margins else 0.0

    def distance(x: float, y: float) -> float:
        return max(0.0, x**2 - 2 * phi * x * y + y**2) ** 0.5

    low = difference - distance(b.value - b.low, a.high - a.value)
    high = difference + distance(b.high - b.value, a.value - a.low)
    return Estimate(difference, low, high, n)


def mcnemar_mid_p(only_a: int, only_b: int) -> float:
    """Two-sided mid-p of McNemar's test: `only_a` inputs are right in a alone, `only_b` in b alone.

    Under the null each such input is a fair coin: p = 2 P(X ≤ k) - P(X = k), X ~ Binomial(only_a + only_b, ½) and k the
    smaller count. The exact test is far too cautious, the asymptotic one not cautious enough for few inputs; the mid-p
    keeps near its level (Fagerland, Lydersen and Laake, 2013).
    """
    if min(only_a, only_b) < 0:
        raise ValueError(f"{only_a} and {only_b} are no counts")
    n, k = only_a + only_b, min(only_a, only_b)
    at_most = float(bdtr(k, n, 0.5))
    below = float(bdtr(k - 1, n, 0.5)) if k else 0.0
    return min(1.0, at_most + below)
