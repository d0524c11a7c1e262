"""Variance and bias by position and by length, in bins that double: 0, 1, 2-3, 4-7, 8-15 and so on."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ketchup.maths.masked import masked_mean, masked_var
from ketchup_eval.stats.bootstrap import Array, Estimate


@dataclass(frozen=True)
class Slice:
    """Numbers of the positions, or of the rollouts whose lengths are, from `first` to `last`.

    Only inputs with two rollouts there enter, `count` actions or rollouts of theirs.
    """

    first: int
    last: int
    count: int
    variance: Estimate
    bias: Estimate


class Bins:
    """The bins of a block of rollouts, `mask[I, N, T]`; B of them. NaN is what no two rollouts of an input tell."""

    def __init__(self, mask: Tensor, weights: Tensor) -> None:
        """`weights` [I, N] are those of the rollouts."""
        alive = mask.sum(1)
        enough = torch.where(alive >= 2, alive, 0).double()
        self.weights = torch.where(alive >= 2, (mask * weights[:, :, None]).sum(1), 0)
        """[I, T]: a position counts as often as there are rollouts that have it, if at least two do."""
        self._of_positions = one_hot(bin_of(torch.arange(mask.shape[2]))).double()
        self.actions = enough @ self._of_positions
        """How many that are in each bin, [I, B]."""
        self._of_each = weights[:, :, None]
        self._of_rollouts = one_hot(bin_of(mask.sum(2))).bool()
        self._of_rollouts[:, :, 0] = False  # absent ones
        counts = self._of_rollouts.sum(1)
        self.rollouts = torch.where(counts >= 2, counts, 0).double()
        """How many rollouts are in each bin of lengths, [I, B]."""

    def by_position(self, per_position: Tensor) -> Tensor:
        """Mean [I, B] over the actions of each bin of numbers per position [I, T]."""
        return (
            (torch.where(self.weights > 0, per_position, 0) * self.weights)
            @ self._of_positions
            / (self.weights @ self._of_positions)
        )

    def over_actions(self, per_position: Tensor) -> Tensor:
        """Mean [I] over all those actions."""
        return (torch.where(self.weights > 0, per_position, 0) * self.weights).sum(1) / self.weights.sum(1)

    def by_length(self, first_returns: Tensor, excess: Tensor) -> tuple[Tensor, Tensor]:
        """Variance and mean excess of the rollouts of each bin of lengths, [I, B]; arguments are [I, N]."""
        inside = self._of_rollouts
        weights = self._of_each.expand_as(inside)
        variance = masked_var(first_returns[:, :, None].expand_as(inside), inside, 1, weights)
        mean = masked_mean(excess[:, :, None].expand_as(inside), inside, 1, weights)
        return variance, torch.where(self.rollouts > 0, mean, torch.nan)


def bin_of(values: Tensor) -> Tensor:
    """The bin of whole numbers ≥ 0: how many binary digits each has."""
    return torch.frexp(values.double()).exponent.long()


def joined(blocks: list[Array]) -> Array:
    """Arrays [I, ...] of several blocks below each other; where the last axis differs, NaN fills up the shorter."""
    most = max(block.shape[-1] for block in blocks)
    if blocks[0].ndim == 1 or all(block.shape[-1] == most for block in blocks):
        return np.concatenate(blocks)
    widened = [
        np.pad(block, [(0, 0)] * (block.ndim - 1) + [(0, most - block.shape[-1])], constant_values=np.nan)
        for block in blocks
    ]
    return np.concatenate(widened)


def slices(counts: Array, variances: list[Estimate], biases: list[Estimate]) -> list[Slice]:
    """One `Slice` for each bin of which `counts` [I, B] has any."""
    totals = np.nansum(counts, axis=0)
    return [
        Slice(2 ** (b - 1) if b else 0, 2**b - 1, int(total), variance, bias)
        for b, (total, variance, bias) in enumerate(zip(totals, variances, biases, strict=True))
        if total
    ]
