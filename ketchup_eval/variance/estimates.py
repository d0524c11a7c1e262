"""From the teacher values of many rollouts to the bias and variance of each K-step return, with intervals.

Two steps, so that no more than a block of inputs is in memory: `per_input_statistics` reduces blocks of rollouts to a
few numbers per input, `concatenate` joins them, and `summarise` averages over inputs, with intervals.

Axes: I inputs, N samples per input, T actions, K segment lengths. Units follow Ĝ: nats, variances nats². A rollout
without any action is an absent one (dropped because it was cut off, say). An input with fewer than two rollouts has no
variance, and is left out of every number here so that all of them describe the same inputs.

Numbers about t = 0 are about the whole output; s_0 is the input, so no gauge moves them. Numbers averaged over t
compare rollouts in different states, whose constants differ: they depend on the gauge (see `ketchup.maths.gauges`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ketchup.maths.masked import masked_mean, masked_var
from ketchup.maths.returns import Tail, advantages, k_step_returns_all, k_step_terms, remaining_actions
from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.intervals import means, ratios
from ketchup_eval.stats.proportions import shares


@dataclass(frozen=True)
class KEstimate:
    """What choosing K does to the return of one student, averaged over inputs; intervals are paired across K.

    The prediction of Theorem 1 and the measurement part ways in two steps: `theory_ratio` counts terms,
    `independent_ratio` gives each term its own variance, `variance_ratio` adds the covariances between terms.
    """

    k: int
    tail: Tail
    variance: Estimate
    """Var[Ĝ_0] over the samples of an input, unbiased."""
    bias: Estimate
    """E[Ĝ_0 - G_0] ≥ 0."""
    variance_mean_t: Estimate
    """Var[Ĝ_t] over the samples of an input that have an action t, averaged over actions; see `InputStatistics`."""
    bias_mean_t: Estimate
    """E[Ĝ_t - G_t], averaged over the same actions."""
    mse: Estimate
    """Squared error of one sampled Ĝ_0 as an estimate of E[G_0]: variance plus squared bias, both per input."""
    independent: Estimate
    """The part of `variance` that independent terms would have: Σ Var of the terms of Ĝ_0."""
    covariance: Estimate
    """The rest of `variance`, 2 Σ Cov of pairs of terms, which Theorem 1 takes to be zero."""
    variance_ratio: Estimate
    """`variance` over that of K = 1."""
    independent_ratio: Estimate
    """`independent` over that of K = 1."""
    theory_ratio: Estimate
    """Mean number of terms of Ĝ_0 over that of K = 1 (Eqs. 24 and 19), from the rollouts' own lengths and tail."""
    same_as_llmr: Estimate
    """Share of all actions whose Ĝ_t has exactly the terms of the full return, so that K changes nothing there."""


@dataclass(frozen=True)
class InputStatistics:
    """Sufficient numbers of each input, arrays [I, K]; K = 1, which the ratios refer to, is always the first column.

    All rollouts of an input count equally at t = 0. An average over t gives each action of the input the same weight,
    as the policy gradient does: position t counts n_t times, the number of rollouts that have an action t, and only
    where n_t ≥ 2. (One weight per position would let the few longest rollouts decide.)
    """

    ks: tuple[int, ...]
    tail: Tail
    variance: Array
    bias: Array
    variance_mean_t: Array
    bias_mean_t: Array
    mse: Array
    """variance + b² with b² estimated without bias, (mean d)² - Var[d] / n for d = Ĝ_0 - G_0; may fall below 0."""
    independent: Array
    terms: Array
    """Mean number of terms in Ĝ_0."""
    same_as_llmr: Array
    """Number of actions whose Ĝ_t is the full return; all of them for K = 1."""


def per_input_statistics(
    q: Tensor | Array, v: Tensor | Array, mask: Tensor | NDArray[np.bool_], ks: Sequence[int], tail: Tail
) -> InputStatistics:
    """The statistics of a block of inputs from `q`, `v`, `mask` [I, N, T], in one gauge and right-padded.

    Padding may hold anything. Computed in float64, with a handful of [K, I, N, T] arrays alive at once: a block of 200
    inputs x 32 samples x 128 actions takes some 300 MB for five K. K = 1 is added when `ks` lacks it.

    Raises `ValueError` for N < 2, values that are not finite, rows that are not right-padded (see
    `ketchup.maths.masked.compact`), a K below 1 or an unknown tail.
    """
    q, v = torch.as_tensor(q, dtype=torch.float64), torch.as_tensor(v, dtype=torch.float64)
    mask = torch.as_tensor(mask)
    _check(q, v, mask)
    ks = (1, *(k for k in dict.fromkeys(ks) if k != 1))
    returns = k_step_returns_all(q.flatten(0, 1), v.flatten(0, 1), mask.flatten(0, 1), ks, tail)
    returns = returns.view(len(ks), *mask.shape)
    excess = returns - returns[0]
    remaining = remaining_actions(mask.flatten(0, 1)).view_as(mask)

    everywhere = mask.expand_as(returns)
    variance, bias = masked_var(returns, everywhere, dim=2), masked_mean(excess, everywhere, dim=2)
    present = mask[:, :, 0]
    parts = torch.cat([q[:, :, :1], advantages(q, v, mask)[:, :, 1:]], dim=2)
    squared_bias = bias[:, :, 0].square() - masked_var(excess[..., 0], everywhere[..., 0], dim=2) / present.sum(1)
    columns = {
        "variance": variance[:, :, 0],
        "bias": bias[:, :, 0],
        "variance_mean_t": _mean_over_actions(variance, mask),
        "bias_mean_t": _mean_over_actions(bias, mask),
        "mse": variance[:, :, 0] + squared_bias,
        "independent": torch.stack([_independent_part(parts, mask, k, tail) for k in ks]),
        "terms": torch.stack([_mean_terms(remaining[:, :, 0], present, k, tail) for k in ks]),
        "same_as_llmr": torch.stack([_same_as_llmr(remaining, k, tail) for k in ks]).double(),
    }
    enough = present.sum(1) >= 2
    arrays = {name: torch.where(enough, column, torch.nan).T.numpy() for name, column in columns.items()}
    return InputStatistics(ks, tail, **arrays)


def concatenate(blocks: Sequence[InputStatistics]) -> InputStatistics:
    """One `InputStatistics` for the inputs of all blocks, in order; they must agree on the K and the tail."""
    first = blocks[0]
    for block in blocks:
        if (block.ks, block.tail) != (first.ks, first.tail):
            raise ValueError(f"blocks of K {first.ks}, {first.tail}, and of K {block.ks}, {block.tail}, do not join")
    names = [field.name for field in fields(first) if field.name not in ("ks", "tail")]
    arrays = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in names}
    return InputStatistics(first.ks, first.tail, **arrays)


def summarise(statistics: InputStatistics) -> list[KEstimate]:
    """Averages over inputs, one `KEstimate` for each of `statistics.ks` in order, K = 1 first.

    What is so by definition (K = 1 against itself) has no interval.
    """
    s = statistics
    averaged = {
        "variance": s.variance,
        "bias": s.bias,
        "variance_mean_t": s.variance_mean_t,
        "bias_mean_t": s.bias_mean_t,
        "mse": s.mse,
        "independent": s.independent,
        "covariance": s.variance - s.independent,
    }
    to_first = {"variance_ratio": s.variance, "independent_ratio": s.independent, "theory_ratio": s.terms}
    first = [np.repeat(columns[:, :1], len(s.ks), axis=1) for columns in to_first.values()]
    estimates = means(np.hstack(list(averaged.values())))
    estimates += ratios(np.hstack(list(to_first.values())), np.hstack(first))
    same = shares(s.same_as_llmr, np.repeat(s.same_as_llmr[:, :1], len(s.ks), axis=1))
    same[0] = Estimate(same[0].value, None, None, same[0].n)
    # Columns run over quantities, and within a quantity over K: every K picks its own in the order of the names.
    names = [*averaged, *to_first, "same_as_llmr"]
    columns = [*estimates, *same]
    return [
        KEstimate(k, s.tail, **dict(zip(names, columns[column :: len(s.ks)], strict=True)))
        for column, k in enumerate(s.ks)
    ]


def _mean_over_actions(per_position: Tensor, mask: Tensor) -> Tensor:
    """Mean [K, I] of numbers per position [K, I, T], weighted by the rollouts alive there, if at least two are."""
    alive = mask.sum(1)
    weights = torch.where(alive >= 2, alive, 0)
    return torch.where(weights > 0, per_position * weights, 0).sum(2) / weights.sum(1)


def _independent_part(parts: Tensor, mask: Tensor, k: int, tail: Tail) -> Tensor:
    """Σ Var of the terms of Ĝ_0, [I], from `parts` [I, N, T]: q_0 first, then the advantages.

    Rollouts of one input differ in length. With A_t = 0 after the end, and at positions Ĝ_0 skips, Ĝ_0 is a sum of T
    terms in every rollout, and its variance exactly their variances plus twice their covariances. A varying length
    thus shows in the variance of the later terms, and in their covariance, since they end together.
    """
    t = torch.arange(mask.shape[2])
    kept = t % k == 0
    if tail == "one-step":
        last = mask.sum(2, keepdim=True) - 1
        kept = kept | (t > last - last % k)
    present = mask[:, :, :1].expand_as(mask)
    return masked_var(torch.where(kept, parts, 0), present, dim=1).sum(1)


def _mean_terms(last: Tensor, present: Tensor, k: int, tail: Tail) -> Tensor:
    """Mean number of terms in Ĝ_0, [I], when `last` actions [I, N] follow the first."""
    return masked_mean(k_step_terms(last.clamp(min=0), k, tail).double(), present, dim=1)


def _same_as_llmr(remaining: Tensor, k: int, tail: Tail) -> Tensor:
    """Number of actions [I] whose Ĝ_t has as many terms as G_t, and hence the same ones."""
    full = remaining + 1  # below 1 in padding, where no count of terms can equal it
    return (k_step_terms(remaining.clamp(min=0), k, tail) == full).sum((1, 2))


def _check(q: Tensor, v: Tensor, mask: Tensor) -> None:
    if mask.ndim != 3 or not q.shape == v.shape == mask.shape:
        shapes = ", ".join(str(list(x.shape)) for x in (q, v, mask))
        raise ValueError(f"q, v and the mask share one shape [I, N, T], not {shapes}")
    if mask.shape[1] < 2:
        raise ValueError(f"a variance needs at least 2 samples per input, not {mask.shape[1]}")
    if not (q.isfinite() & v.isfinite() | ~mask).all():
        raise ValueError("a teacher value of an action is not finite; an action the teacher rules out has no return")
