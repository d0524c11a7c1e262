"""Paired tests for scores of a whole corpus, such as BLEU, which are functions of summed statistics of its segments.

A `rule` takes sums [..., m] to scores [...]. Statistics of a system are [n, m], a row per segment; both systems of a
test have the same segments in the same order. Nothing is scored anew: a resample or shuffle is a matrix product.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.special import stdtrit

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


def smallest_detectable(resampled: Array, level: float = 0.95, power: float = 0.8) -> float | None:
    """The smallest true difference that a two-sided test at this n would find with the given power.

    (z_{(1+level)/2} + z_{power}) x standard error, the latter the spread of the resampled difference; `None` where no
    item differs and the spread is unknown.
    """
    normal = NormalDist()
    size = (normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(power)) * float(resampled.std(ddof=1))
    return size if size > 0 else None


@dataclass(frozen=True)
class SeedComparison:
    """Methods a and b with several training runs each: scores of the runs, and the resampled difference b - a."""

    a: list[float]
    b: list[float]
    difference: float
    resampled: Array


def hierarchical_bootstrap(a: list[Array], b: list[Array], rule: Rule, bootstrap: Bootstrap) -> SeedComparison:
    """The mean score over b's runs minus that over a's, resampling items and, on a side with several, runs.

    `a` and `b` hold the statistics [n, m] of each run. Items and runs are crossed: S runs with the same n items have
    Var[mean] = σ²_run / S + σ²_item / n + σ²_both / (n S), where σ²_both is what a run does to an item of its own.
    A resample's deviation is the sum of two:

    - runs: the mean of S runs drawn among S, less that of all, times √(S / (S - 1)), without which few runs would show
      too little variance. Its variance holds σ²_both / (n S) as well.
    - items: drawn once for all runs, shrunk so that its variance leaves to the runs what it shares with them.

    A handful of runs leaves their variance uncertain, so both are stretched as t intervals are longer than normal ones.
    """
    generator = np.random.default_rng([bootstrap.seed, 1])
    points = [[float(rule(run.sum(axis=0))) for run in side] for side in (a, b)]
    scores = [np.stack([rule(resampled_sums(bootstrap, run)) for run in side]) for side in (a, b)]  # [S, resamples]
    difference = float(np.mean(points[1]) - np.mean(points[0]))
    by_items = scores[1].mean(axis=0) - scores[0].mean(axis=0) - difference
    of_items = float(by_items.var())
    alone = max(0.0, of_items - sum(map(_shared_with_runs, scores)))
    run_a, run_b = (_by_runs(side, bootstrap.resamples, generator) for side in points)
    stretch = _t_over_normal([(alone, bootstrap.n - 1), *map(_variance_of_mean, points)])
    deviations = by_items * ((alone / of_items) ** 0.5 if of_items else 0.0) + run_b - run_a
    return SeedComparison(points[0], points[1], difference, difference + stretch * deviations)


def _by_runs(points: list[float], resamples: int, generator: np.random.Generator) -> Array:
    """Deviations [resamples] of the mean over drawn runs."""
    runs = len(points)
    if runs == 1:
        return np.zeros(resamples)
    drawn = generator.multinomial(runs, np.full(runs, 1 / runs), size=resamples) / runs
    deviations: Array = (runs / (runs - 1)) ** 0.5 * (drawn - 1 / runs) @ np.array(points)
    return deviations


def _shared_with_runs(scores: Array) -> float:
    """σ²_both / (n S), from resampled scores [S, resamples]: runs differ by σ²_both / n under one draw of items."""
    runs = len(scores)
    return float((scores.var(axis=1).mean() - scores.mean(axis=0).var()) / (runs - 1)) if runs > 1 else 0.0


def _variance_of_mean(points: list[float]) -> tuple[float, int]:
    """The variance of the mean over runs, and its degrees of freedom; 0 and 0 for a single run."""
    degrees = len(points) - 1
    return (float(np.var(points, ddof=1)) / len(points), degrees) if degrees else (0.0, 0)


def _t_over_normal(variances: list[tuple[float, int]], level: float = 0.95) -> float:
    """How much longer an interval is where its variance is the sum of estimates, each with its degrees of freedom.

    ν = (Σ V)² / Σ (V² / ν_i) (Satterthwaite, 1946). Without repeated runs it is 1: items are many.
    """
    known = [(variance, degrees) for variance, degrees in variances if variance > 0 and degrees > 0]
    if not any(variance > 0 for variance, _ in variances[1:]):
        return 1.0
    degrees = sum(variance for variance, _ in known) ** 2 / sum(variance**2 / own for variance, own in known)
    quantile = (1 + level) / 2
    return float(stdtrit(degrees, quantile)) / NormalDist().inv_cdf(quantile)
