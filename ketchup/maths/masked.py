"""Reductions over the entries a mask keeps.

Whatever stands outside the mask, NaN and infinity included, reaches neither the result nor its gradient. An empty
selection has no mean, sum or variance: the result is NaN, never 0, so that a missing measurement cannot pass for a
measured zero.
"""

import torch
from torch import Tensor

Dim = int | tuple[int, ...] | None
"""The axes to reduce; `None` reduces all of them."""


def masked_sum(values: Tensor, mask: Tensor, dim: Dim = None) -> Tensor:
    """Sum of the masked-in entries; NaN where there are none.

    `values` and `mask` have one shape; the result lacks the axes `dim` and keeps the dtype and unit of `values`.
    """
    total = torch.where(mask, values, 0).sum(dim)
    return torch.where(mask.any(dim), total, torch.nan)


def masked_mean(values: Tensor, mask: Tensor, dim: Dim = None, weights: Tensor | None = None) -> Tensor:
    """Mean of the masked-in entries, Σ w x / Σ w; NaN where there are none.

    `values`, `mask` and `weights` (`None`: 1) have one shape; the result lacks the axes `dim` and keeps the dtype and
    unit of `values`.
    """
    counted = mask if weights is None else torch.where(mask, weights, 0)
    return (torch.where(mask, values, 0) * counted).sum(dim) / counted.sum(dim)


def masked_var(values: Tensor, mask: Tensor, dim: Dim = None, weights: Tensor | None = None) -> Tensor:
    """Variance of the masked-in entries, Σ w (x - mean)² / (Σ w - Σ w² / Σ w); NaN where there are fewer than two.

    Without weights it is the unbiased Σ (x - mean)² / (n - 1); with weights that have nothing to do with the values it
    is unbiased too. `values`, `mask` and `weights` (`None`: 1) have one shape; the result lacks the axes `dim` and has
    the squared unit of `values`. The mean is taken out before squaring, so a large common offset costs no digits.
    """
    counted = mask.to(values.dtype) if weights is None else torch.where(mask, weights, 0)
    total = counted.sum(dim, keepdim=True)
    mean = (torch.where(mask, values, 0) * counted).sum(dim, keepdim=True) / total
    squares = (torch.where(mask, values - mean, 0).square() * counted).sum(dim)
    return squares / degrees(counted, mask, dim)


def degrees(counted: Tensor, mask: Tensor, dim: Dim = None) -> Tensor:
    """Σ w - Σ w² / Σ w of weights that are 0 outside of the mask: n - 1 where all are 1; NaN below two entries."""
    total = counted.sum(dim)
    free = total - counted.square().sum(dim) / total
    return torch.where(mask.sum(dim) >= 2, free, torch.nan)


def check_right_padded(mask: Tensor) -> None:
    """Raise `ValueError` unless each row of `mask[R, T]` is a run of true entries followed by false ones.

    Functions that count K actions ahead by counting K columns need this; `compact` makes it so. A mask that is not
    boolean raises `TypeError`: `~` on the 0/1 integers of an attention mask is not a logical "not".
    """
    if mask.dtype != torch.bool:
        raise TypeError(f"a mask is boolean, not {mask.dtype}; convert it with `mask.bool()`")
    holes = (~mask[:, :-1] & mask[:, 1:]).any(dim=1).nonzero()
    if len(holes):
        raise ValueError(f"row {int(holes[0])} of the mask has an action after padding; call `compact` first")


def compact(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Move the masked-in entries of each row to the left, in order; the rest becomes 0.

    A calculator writes tokens into a rollout that the student did not choose. They belong to the step from one state
    to the next and are no actions, so the action after them is *one* step ahead. `values[R, T]` with such holes in
    `mask[R, T]` comes back right-padded, with the mask that fits, both still [R, T]; the EOS, if an action, stays last.
    """
    order = mask.logical_not().to(torch.uint8).argsort(dim=1, stable=True)
    packed = mask.gather(1, order)
    return torch.where(packed, values.gather(1, order), 0), packed
