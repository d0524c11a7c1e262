"""Means and ratios of means over inputs, with the kind of interval that was asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ketchup_eval.stats import intervals
from ketchup_eval.stats.bootstrap import Array, Bootstrap, Estimate

PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class OverInputs:
    """Hall's intervals, which draw nothing; or percentile bootstraps of so many `resamples`, to compare with others.

    A bootstrap is the shorter the fewer and the more unlike the inputs are (`tests/benchmarks/coverage.py`). Quantities
    of one bootstrap see the same resamples, so that their ratios are paired.
    """

    resamples: int | None = None
    seed: int = 0

    @property
    def method(self) -> str:
        """What they are called."""
        if self.resamples is None:
            return "Hall's over inputs, within Wilson's for shares"
        return f"percentile bootstrap over inputs, {self.resamples} resamples; for shares Hall's within Wilson's"

    def means(self, values: Array) -> list[Estimate]:
        """See `ketchup_eval.stats.intervals.means`."""
        found = intervals.means(values)
        if self.resamples is None:
            return found
        return _between(found, self._bootstrap(values).resampled_means(values))

    def ratios(self, above: Array, below: Array) -> list[Estimate]:
        """See `ketchup_eval.stats.intervals.ratios`."""
        found = intervals.ratios(above, below)
        if self.resamples is None:
            return found
        both = ~(np.isnan(above) | np.isnan(below))
        drawn = self._bootstrap(above)
        ends = [drawn.resampled_means(np.where(both, values, np.nan)) for values in (above, below)]
        with np.errstate(divide="ignore", invalid="ignore"):
            return _between(found, np.where(ends[1] == 0, np.nan, ends[0] / ends[1]))

    def _bootstrap(self, values: Array) -> Bootstrap:
        assert self.resamples is not None
        return Bootstrap(len(values), self.seed, self.resamples)


def _between(found: Sequence[Estimate], resampled: Array) -> list[Estimate]:
    """The same values between the percentiles of their resamples, but for those that have no interval at all."""
    ends = np.full((2, resampled.shape[1]), np.nan)
    some = ~np.isnan(resampled).all(axis=0)
    ends[:, some] = np.nanpercentile(resampled[:, some], PERCENTILES, axis=0)
    return [
        one if one.low is None or np.isnan(low) else replace(one, low=float(low), high=float(high))
        for one, low, high in zip(found, *ends, strict=True)
    ]
