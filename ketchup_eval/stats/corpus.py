"""Paired tests for scores of a whole corpus, such as BLEU, which are functions of summed statistics of its segments.

A `rule` takes sums [..., m] to scores [...]. Statistics of a system are [n, m], a row per segment; both systems of a
test have the same segments in the same order. Nothing is scored anew: a resample or shuffle is a matrix product.
"""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from ketchup_eval.stats.bootstrap import Array, Bootstrap, Estimate

Rule = Callable[[Array], Array]
BLOCK_ENTRIES = 4_000_000
"""Coins tossed at once, 8 bytes each."""
MOST_UNDEFINED = 0.01
"""Share of resamples without a value that an interval may leave out."""
TIE = 1e-9
"""Relative slack within which two differences count as equal; the rounding of sums must not decide about a tie."""


def defined(resampled: Array) -> Array | None:
    """The resamples that have a value; `None` where more than a hundredth has none (NaN).

    A quantity may be undefined in a draw, as a rank correlation is where all inputs drawn are alike. A few such draws
    are left out; many say that the others are no fair picture of how far it could have moved.
    """
    known = resampled[~np.isnan(resampled)]
    return known if len(known) >= (1 - MOST_UNDEFINED) * len(resampled) else None


def percentile_estimate(value: float, resampled: Array, n: int, level: float = 0.95) -> Estimate:
    """A value with the percentiles of its resamples.

    There are no bounds below two inputs, where too many resamples have no value (`defined`), or where none differs from
    another: inputs that are all alike do not show how far the next one would stray.
    """
    if np.isnan(value):
        return Estimate(None, None, None, n)
    known = defined(resampled)
    if n < 2 or known is None or not _differ(known):
        return Estimate(float(value), None, None, n)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(value), float(low), float(high), n)


def resampled_sums(bootstrap: Bootstrap, statistics: Array) -> Array:
    """The sums of `statistics[n, m]` in each resample, [resamples, m]."""
    sums: Array = bootstrap.resampled_means(statistics) * bootstrap.n
    return sums


def randomisation_p_value(a: Array, b: Array, rules: list[Rule], seed: int, trials: int = 10_000) -> list[float | None]:
    """Approximate randomisation (Noreen, 1989; Riezler and Maxwell, 2005): a two-sided p-value for each rule.

    Under the null the two outputs of a segment could as well have come from the other system. So each trial swaps every
    segment's pair by a fair coin, and p = (1 + hits) / (1 + trials), hits being the trials whose |score(a) - score(b)|
    reaches the observed one. All rules share the coins. A rule without a value for either system has no p-value; a
    trial in which it has none counts as a hit, since nothing shows it to be less extreme.
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
            hits[index] += int((~(np.abs(rule(shuffled_a) - rule(shuffled_b)) < threshold[index])).sum())
    p_values = (1 + hits) / (1 + trials)
    return [None if np.isnan(size) else float(p) for size, p in zip(observed, p_values, strict=True)]


def centred_p_value(observed: float, resampled: Array) -> float | None:
    """The two-sided bootstrap p-value of a difference: how often a resample strays as far from it as it is from 0.

    p = (1 + hits) / (1 + resamples), hits being the resamples with |d* - d| ≥ |d| (Efron and Tibshirani, 1993, 16.4,
    applied to a paired difference). Both tails count; sacrebleu's bootstrap test counts one of them where d is clear.
    Without an observed difference there is none; a resample without one counts as a hit.
    """
    if np.isnan(observed):
        return None
    hits = int((~(np.abs(resampled - observed) < abs(observed) * (1 - TIE))).sum())
    return (1 + hits) / (1 + len(resampled))


def smallest_detectable(resampled: Array, level: float = 0.95, power: float = 0.8) -> float | None:
    """The smallest true difference that a two-sided test at this n would find with the given power.

    (z_{(1+level)/2} + z_{power}) x standard error, the latter the spread of the resampled difference; `None` where no
    input differs, or some resample has no difference, and the spread is unknown.
    """
    if np.isnan(resampled).any() or not _differ(resampled):
        return None
    normal = NormalDist()
    return (normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(power)) * float(resampled.std(ddof=1))


def _differ(resampled: Array) -> bool:
    """Whether resamples differ by more than the rounding of what they were computed from."""
    return bool(np.ptp(resampled) > TIE * max(1.0, float(np.abs(resampled).max())))
