"""Runs that differ in nothing but their seed: how far their mean could have moved."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy import stats

from ketchup_eval.stats.bootstrap import Estimate


def mean_over_seeds(values: Sequence[float], level: float = 0.95) -> Estimate:
    """The mean of one number per seed with Student's t interval, mean ± t_{n-1} s / √n.

    The unit is the run. A bootstrap over three runs would be far too narrow, the t interval assumes they are about
    normal. One run has no interval, none has no value.
    """
    n = len(values)
    if n < 2:
        return Estimate(values[0] if n else None, None, None, n)
    mean = fmean(values)
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * stdev(values) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)
