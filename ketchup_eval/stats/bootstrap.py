"""Resampling: how far a number could have moved had other inputs been drawn."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BLOCK_ENTRIES = 1_000_000
"""Resampling weights held at once, 8 bytes each; small enough for a processor's cache to be of use."""


@dataclass(frozen=True)
class Estimate:
    """A number and its interval, in the unit of `value`; never NaN.

    `n` inputs had the quantity. With none (or a ratio to zero) `value` is `None`. Fewer than two inputs, or inputs that
    are all alike, do not show how far the next one would stray: then `low` and `high` are `None`, unless the quantity
    is a share, whose range says it (`proportions.shares`).
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def scaled(self, factor: float, offset: float = 0.0) -> "Estimate":
        """That of `factor` > 0 times the quantity, plus `offset`."""
        value, low, high = (
            None if part is None else factor * part + offset for part in (self.value, self.low, self.high)
        )
        return Estimate(value, low, high, self.n)


class Bootstrap:
    """Resampling of `n` inputs with replacement, the same resamples for every quantity.

    Inputs are the independent draws, their samples are not, so whole inputs are resampled: values are arrays [n, m] of
    m quantities per input. An input that lacks a quantity has NaN there; it is left out of any resample that draws it.
    Since each call draws the same resamples from `seed`, all statistics of one object are paired: a ratio or difference
    sees one set of inputs above and below.

    For scores that no influence is at hand for (BLEU, Krippendorff's alpha). Their percentiles are short where n is
    below about 30 and the quantity skewed; means, ratios and shares have better intervals (`intervals`, `proportions`).

    Memory is one block of weights whatever n is; time grows with n x resamples x m.
    """

    def __init__(self, n: int, seed: int, resamples: int = 2000, level: float = 0.95) -> None:
        if n < 1:
            raise ValueError(f"a bootstrap needs at least 1 input, not {n}")
        if resamples < 1:
            raise ValueError(f"a bootstrap needs at least 1 resample, not {resamples}")
        if not 0 < level < 1:
            raise ValueError(f"the level of an interval lies between 0 and 1, not at {level}")
        self.n = n
        self.seed = seed
        self.resamples = resamples
        self.level = level

    def resampled_means(self, values: Array) -> Array:
        """The mean of each column of `values[n, m]` in each resample: [resamples, m], NaN where a resample has none."""
        self._check(values)
        present = ~np.isnan(values)
        # `einsum` adds up every column in the same order. Matrix products may round equal columns differently, and then
        # the ratio of a quantity to itself would not be exactly 1.
        columns = np.ascontiguousarray(np.where(present, values, 0).T)
        complete = present.all(axis=0)
        means = []
        for weights in self._weights():
            totals = np.einsum("rn,mn->rm", weights, columns)
            counts = np.full_like(totals, self.n)
            counts[:, ~complete] = weights @ present[:, ~complete].astype(np.float64)
            means.append(_quotient(totals, counts))
        return np.concatenate(means)

    def _weights(self) -> Iterator[Array]:
        """Blocks [b, n] of how often each resample draws each input; rows sum to n."""
        generator = np.random.default_rng(self.seed)
        block = max(1, BLOCK_ENTRIES // self.n)
        for start in range(0, self.resamples, block):
            rows = min(block, self.resamples - start)
            drawn = generator.integers(self.n, size=(rows, self.n)) + np.arange(rows)[:, None] * self.n
            counts = np.bincount(drawn.ravel(), minlength=rows * self.n)
            yield counts.reshape(rows, self.n).astype(np.float64)

    def _check(self, values: Array) -> None:
        if values.ndim != 2 or len(values) != self.n:
            raise ValueError(f"values of {self.n} inputs are an array [{self.n}, m], not {list(values.shape)}")
        if np.isinf(values).any():
            raise ValueError("values must be finite, or NaN where an input lacks the quantity")


def _quotient(above: Array, below: Array | NDArray[np.int64]) -> Array:
    """`above / below`, NaN where `below` is zero, without a warning."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below == 0, np.nan, above / below)
