"""Theorem 1 against measurement: what of a return's variance the theorem leaves out, piece by piece.

The theorem takes the terms of Ĝ_0 = Σ_i c_i (q_i - v_i), v_0 not among them, for independent and alike, so that a
variance is proportional to Σ c_i². Four things part it from what is measured; with q̃_i and ṽ_i the values less their
means over the input's rollouts that have an action i, and 0 after the end:

* positions: the terms are not alike. Σ_i Var[c_i q̃_i] + Var[c_i ṽ_i] takes the place of Σ c_i².
* states: q and v of one state vary together, -2 Σ_i Cov[c_i q̃_i, c_i ṽ_i].
* steps: so do terms of different steps, 2 Σ_{i<j} Cov[c_i (q̃_i - ṽ_i), c_j (q̃_j - ṽ_j)].
* lengths: rollouts end at different times, so that a sum of means is random too: Var[M] + 2 Cov[M, D] with
  M = Σ_i c_i mean(q_i - v_i) over a rollout's own positions and D = Ĝ_0 - M.

The four add up to Var[Ĝ_0], exactly and in each input. From Theorem 1's ratio to LLMR to the measured one leads a ratio
after each piece, of the row's pieces so far to LLMR's; their differences add up to the gap. The order is part of their
meaning. A gauge moves what is called positions and what states, and neither their sum nor the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ketchup.estimators import Numbers
from ketchup.maths.masked import degrees, masked_var
from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.intervals import ROUNDING, of_weights

PIECES = ("positions", "states", "steps", "lengths")


@dataclass(frozen=True)
class TheoryGap:
    """The measured ratio of variances to LLMR's, less Theorem 1's (`total`), and the pieces that add up to it."""

    total: Estimate
    positions: Estimate
    states: Estimate
    steps: Estimate
    lengths: Estimate


class Parts:
    """q and v of a block of rollouts [I, N, T], and what the variances of their sums need; made once for all rows."""

    def __init__(self, numbers: Numbers, weights: Tensor) -> None:
        """`weights` [I, N] are those of the rollouts."""
        shape = (-1, numbers.samples, numbers.mask.shape[1])
        mask = numbers.mask.view(shape)
        counted = mask * weights[:, :, None]
        alive = torch.where(mask.any(1, keepdim=True), counted.sum(1, keepdim=True), 1)
        q, v = (torch.where(mask, values.view(shape), 0) for values in (numbers.q, numbers.v))
        v[:, :, 0] = 0  # no term has it
        self._q, self._v = ((x - (x * counted).sum(1, keepdim=True) / alive) * mask for x in (q, v))
        self._terms = q - v
        self._terms[:, :, 0] = self._q[:, :, 0]  # about its mean, which no variance sees
        self._present = mask[:, :, 0]
        self._weights = counted[:, :, 0]
        self._n = self._weights.sum(1)
        self._free = degrees(self._weights, self._present, 1)

    def independent(self, coefficients: Tensor) -> Tensor:
        """Σ_i Var[c_i x_i] [I], x_i being 0 after the end; `coefficients` [I, N, T] are too.

        A varying length shows in the variance of the later terms, and in their covariance, since they end together.
        """
        kept = coefficients * self._terms
        return self._covariances(kept, kept)

    def pieces(self, coefficients: Tensor, variance: Tensor) -> dict[str, Tensor]:
        """The four pieces [I] of the `variance` [I] of Ĝ_0, c_i being `coefficients` [I, N, T], 0 past the end."""
        q, v = coefficients * self._q, coefficients * self._v
        positions = self._covariances(q, q) + self._covariances(v, v)
        states = -2 * self._covariances(q, v)
        about_means = masked_var(q.sum(2) - v.sum(2), self._present, 1, self._weights)
        return {
            "positions": positions,
            "states": states,
            "steps": about_means - positions - states,
            "lengths": variance - about_means,
        }

    def _covariances(self, x: Tensor, y: Tensor) -> Tensor:
        """Σ_i Cov[x_i, y_i] over the rollouts of each input, [I]; both have means near 0."""
        weighted = x * self._weights[:, :, None]
        products = torch.linalg.vecdot(weighted.flatten(1), y.flatten(1))
        means = torch.linalg.vecdot(weighted.sum(1), (y * self._weights[:, :, None]).sum(1)) / self._n
        return (products - means) / self._free


def theory_gap(terms: Array, pieces: Sequence[Array], row: int) -> TheoryGap | None:
    """The gap of one row, from `terms` and the four `pieces` [I, E], LLMR first; `None` for a row without terms."""
    known = ~np.isnan(np.stack([terms[:, row], terms[:, 0]])).any(axis=0)
    if not known.any():
        return None
    stages = [terms, *np.cumsum(pieces, axis=0)]
    ratios = [(stage[known, row], stage[known, 0]) for stage in stages]
    steps = [_difference(after, before) for before, after in pairwise(ratios)]
    return TheoryGap(_difference(ratios[-1], ratios[0]), *steps)


def _difference(one: tuple[Array, Array], other: tuple[Array, Array]) -> Estimate:
    """The difference of two ratios of means over the same inputs, paired."""

    def statistic(weights: Array) -> tuple[float, Array]:
        value, influence = 0.0, np.zeros(len(weights))
        for sign, (above, below) in ((1, one), (-1, other)):
            mean = float(weights @ below) or np.nan
            ratio = float(weights @ above) / mean
            value += sign * ratio
            influence += sign * (above - ratio * below) / mean
        return value, influence

    n = len(one[0])
    value, influence = statistic(np.full(n, 1 / n))
    if np.abs(influence).max() < ROUNDING:  # ratios are of the order of 1
        return Estimate(value, None, None, n)
    return of_weights(statistic, n)
