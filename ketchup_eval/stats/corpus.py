"""Paired tests for scores of a whole corpus, such as BLEU, which are functions of summed statistics of its segments.

A `rule` takes sums [..., m] to scores [...]. Statistics of a system are [n, m], a row per segment; both systems of a
test have the same segments in the same order. Nothing is scored anew: a resample or shuffle is a matrix product.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from ketchup_eval.stats.bootstrap import Array, Bootstrap, Estimate

Rule = Callable[[Array], Array]
BLOCK_ENTRIES = 4_000_000
"""Coins tossed at once, 8 bytes each."""
TIE = 1e-9
"""Relative slack within which two differences count as equal; the rounding of sums must not decide about a tie."""


def percentile_estimate(value: float, resampled: Array, n: int, level: float = 0.95) -> Estimate:
    """A value with the percentiles of its resamples; without bounds below two items or where a resample has none."""
    if np.isnan(value):
        return Estimate(None, None, None, n)
    outside = (1 - level) / 2
    low, high = np.quantile(resampled, [outside, 1 - outside])
    if n < 2 or np.isnan(low):
        return Estimate(float(value), None, None, n)
    return Estimate(float(value), float(low), float(high), n)


def resampled_sums(bootstrap: Bootstrap, statistics: Array) -> Array:
    """The sums of `statistics[n, m]` in each resample, [resamples, m]."""
    sums: Array = bootstrap.resampled_means(statistics) * bootstrap.n
    return sums


def randomisation_p_value(a: Array, b: Array, rules: list[Rule], seed: int, trials: int = 10_000) -> list[float]:
    """Approximate randomisation (Noreen, 1989; Riezler and Maxwell, 2005): a two-sided p-value for each rule.

    Under the null the two outputs of a segment could as well have come from the other system. So each trial swaps every
    segment's pair by a fair coin, and p = (1 + hits) / (1 + trials), hits being the trials whose |score(a) - score(b)|
    reaches the observed one. All rules share the coins.
    """
    n, total_a, total_b = len(a), a.sum(axis=0), b.sum(axis=0)
    difference = np.ascontiguousarray(a - b)
    observed = np.array([abs(float(rule(total_a) - rule(total_b))) for rule in rules])
    threshold = observed * (1 - TIE)
    hits = np.zeros(len(rules), dtype=np.int64)
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK_ENTRIES // max(n, 1))
    for start in range(0, trials, block):
        rows = min(block, trials - start)
        coins = np.unpackbits(generator.integers(256, size=(rows, (n + 7) // 8), dtype=np.uint8), axis=1, count=n)
        moved = coins.astype(np.float64) @ difference
        shuffled_a, shuffled_b = total_a - moved, total_b + moved
        for index, rule in enumerate(rules):
            hits[index] += int((np.abs(rule(shuffled_a) - rule(shuffled_b)) >= threshold[index]).sum())
    return [float(p) for p in (1 + hits) / (1 + trials)]


def centred_p_value(observed: float, resampled: Array) -> float:
    """The two-sided bootstrap p-value of a difference: how often a resample strays as far from it as it is from 0.

    p = (1 + hits) / (1 + resamples), hits being the resamples with |d* - d| ≥ |d| (Efron and Tibshirani, 1993, 16.4,
    applied to a paired difference). Both tails count; sacrebleu's bootstrap test counts one of them where d is clear.
    """
    hits = int((np.abs(resampled - observed) >= abs(observed) * (1 - TIE)).sum())
    return (1 + hits) / (1 + len(resampled))


def smallest_detectable(resampled: Array, level: float = 0.95, power: float = 0.8) -> float:
    """The smallest true difference that a two-sided test at this n would find with the given power.

    (z_{(1+level)/2} + z_{power}) x standard error, the latter the spread of the resampled difference.
    """
    normal = NormalDist()
    return float((normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(power)) * resampled.std(ddof=1))


@dataclass(frozen=True)
class SeedComparison:
    """Methods a and b with several training runs each: scores of the runs, and the resampled difference b - a."""

    a: list[float]
    b: list[float]
    difference: float
    resampled: Array


def hierarchical_bootstrap(a: list[Array], b: list[Array], rule: Rule, bootstrap: Bootstrap) -> SeedComparison:
    """The mean score over b's runs minus that over a's, resampling runs of each side and the items of all.

    `a` and `b` hold the statistics [n, m] of each run. A resample draws items once for all runs, and for each side as
    many runs as it has. The deviation of the drawn runs' mean is stretched by √(S / (S - 1)), without which S runs
    would show too little variance between runs; a side with one run shows none. With few runs the interval stays short,
    as it uses no t-distribution: see the tests for how often it covers.
    """
    generator = np.random.default_rng([bootstrap.seed, 1])
    means, points = [], []
    for side in (a, b):
        scores = np.stack([rule(resampled_sums(bootstrap, run)) for run in side])  # [S, resamples]
        weights = _run_weights(len(side), bootstrap.resamples, generator)
        means.append(np.einsum("sr,rs->r", scores, weights))
        points.append([float(rule(run.sum(axis=0))) for run in side])
    difference = float(np.mean(points[1]) - np.mean(points[0]))
    return SeedComparison(points[0], points[1], difference, means[1] - means[0])


def _run_weights(runs: int, resamples: int, generator: np.random.Generator) -> Array:
    """Weights [resamples, runs] of a mean over drawn runs, each row summing to 1."""
    if runs == 1:
        return np.ones((resamples, 1))
    drawn = generator.multinomial(runs, np.full(runs, 1 / runs), size=resamples) / runs
    stretched: Array = 1 / runs + (drawn - 1 / runs) * (runs / (runs - 1)) ** 0.5
    return stretched
