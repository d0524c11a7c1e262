"""Runs that differ in nothing but their seed: how far their mean could have moved, and two methods' means apart."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import stdtrit

from ketchup_eval.stats.bootstrap import Array, Bootstrap, Estimate
from ketchup_eval.stats.corpus import TIE, Rule, resampled_sums

SMALLEST_P = 1e-12


def mean_over_seeds(values: Sequence[float], level: float = 0.95) -> Estimate:
    """The mean of one number per seed with Student's t interval, mean ± t_{n-1} s / √n.

    The unit is the run. A bootstrap over three runs would be far too narrow, the t interval assumes they are about
    normal. One run has no interval, nor have runs that are all alike; none has no value.
    """
    n = len(values)
    if n < 2 or max(values) == min(values):
        return Estimate(values[0] if n else None, None, None, n)
    mean = fmean(values)
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * stdev(values) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


@dataclass(frozen=True)
class RunsComparison:
    """Methods a and b with several training runs of either: the difference b - a and its test.

    `detectable` is about the smallest true difference that the test would find with power 80% at level 5%.
    """

    difference: Estimate
    p: float | None
    detectable: float | None


def difference_of_means(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> RunsComparison:
    """The mean of b's runs minus that of a's, one number a run, by Welch's t: both sides have two runs or more.

    The unit is the run, and the runs of one side vary as they like. Where all runs of both sides are alike nothing
    varies: then there is no interval, and no p-value unless the means agree.
    """
    difference = fmean(b) - fmean(a)
    n = len(a) + len(b)
    parts = [stdev(side) ** 2 / len(side) for side in (a, b)]
    if math.sqrt(sum(parts)) <= TIE * max(abs(value) for value in (*a, *b)):
        return RunsComparison(Estimate(difference, None, None, n), 1.0 if difference == 0 else None, None)
    degrees = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    error = math.sqrt(sum(parts))
    half = float(stdtrit(degrees, (1 + level) / 2)) * error
    p = 2 * float(stats.t.sf(abs(difference) / error, degrees))
    return RunsComparison(Estimate(difference, difference - half, difference + half, n), p, None)


def compare_runs(a: list[Array], b: list[Array], rule: Rule, bootstrap: Bootstrap) -> RunsComparison:
    """The mean score over b's runs minus that over a's, by how far inputs and runs could have moved it.

    `a` and `b` hold the statistics [n, m] of each run; at least one has several. Inputs and runs are crossed: S runs
    with the same n inputs have Var[mean] = σ²_run / S + σ²_input / n + σ²_both / (n S), where σ²_both is what a run
    does to an input of its own. Half the interval is

        √(t_{n-1}² V_inputs + t_ν² V_runs),

    the root of the sum of the squared halves of both (Graybill and Wang, 1980): runs are few, and their variance may
    come out as nearly nothing, where degrees of freedom of the sum (Satterthwaite's) would forget how few they are.

    - V_runs is the sum over sides of the variance of the runs' scores / S, which holds σ²_both / (n S) as well, and ν
      Welch's. Where one side is a single run, its runs are taken to vary as the other side's do: without that, equal
      methods would be told apart in a fifth of all cases.
    - V_inputs is the bootstrap's for the difference of the means, less what it shares with the runs. What is shared
      counts at least as if it were known, should the scores of the runs happen to be alike.
    """
    points = [np.array([float(rule(run.sum(axis=0))) for run in side]) for side in (a, b)]
    scores = [np.stack([rule(resampled_sums(bootstrap, run)) for run in side]) for side in (a, b)]  # [S, resamples]
    difference = float(points[1].mean() - points[0].mean())
    shared, of_runs, degrees = _of_runs(points, scores)
    of_inputs = max(0.0, float((scores[1].mean(axis=0) - scores[0].mean(axis=0)).var()) - shared)
    inputs = bootstrap.n - 1

    def half(level: float) -> float:
        t_inputs, t_runs = (float(stdtrit(count, (1 + level) / 2)) for count in (inputs, degrees))
        return math.sqrt(t_inputs**2 * of_inputs + max(t_runs**2 * of_runs, t_inputs**2 * shared))

    size = max(float(np.abs(side).max()) for side in points)
    if bootstrap.n < 2 or not half(bootstrap.level) > TIE * size:  # nothing varies, or some score is not defined
        none = Estimate(None if math.isnan(difference) else difference, None, None, bootstrap.n)
        return RunsComparison(none, 1.0 if abs(difference) <= TIE * size else None, None)
    reach = half(bootstrap.level)
    estimate = Estimate(difference, difference - reach, difference + reach, bootstrap.n)
    return RunsComparison(estimate, _p_value(abs(difference), half), reach + half(0.6))


def _of_runs(points: list[Array], scores: list[Array]) -> tuple[float, float, float]:
    """What inputs share with runs, the variance of the difference that is the runs', and its degrees of freedom."""
    counts = [len(side) for side in points]
    shared = [_shared_with_runs(side) for side in scores]
    variances = [float(side.var(ddof=1)) / len(side) if len(side) > 1 else 0.0 for side in points]
    if 1 in counts:
        one, other = counts.index(1), 1 - counts.index(1)
        shared[one], variances[one] = shared[other] * counts[other], variances[other] * counts[other]
        degrees = float(counts[other] - 1)
    elif sum(variances):
        degrees = sum(variances) ** 2 / sum(v**2 / (count - 1) for v, count in zip(variances, counts, strict=True))
    else:
        degrees = float(sum(counts) - 2)
    return max(0.0, sum(shared)), sum(variances), degrees


def _shared_with_runs(scores: Array) -> float:
    """σ²_both / (n S), from resampled scores [S, resamples]: runs differ by σ²_both / n under one draw of inputs."""
    runs = len(scores)
    return float((scores.var(axis=1).mean() - scores.mean(axis=0).var()) / (runs - 1)) if runs > 1 else 0.0


def _p_value(difference: float, half: Callable[[float], float]) -> float:
    """The p at which the interval of level 1 - p just reaches 0."""
    if half(1 - SMALLEST_P) <= difference:
        return SMALLEST_P
    return float(brentq(lambda p: half(1 - p) - difference, SMALLEST_P, 1.0))
