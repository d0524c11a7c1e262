"""From the numbers of a block of rollouts to a few numbers per input for each estimator: what is averaged afterwards.

Axes: I inputs, N samples per input, T actions, E estimators. Units follow the return: nats, variances nats². A rollout
without any action is an absent one (dropped because it was cut off, say). An input with fewer than two rollouts has no
variance, and is left out of every number here so that all of them describe the same inputs.

Numbers about t = 0 are about the whole output; s_0 is the input, so no gauge moves them. Numbers averaged over t
compare rollouts in different states, whose constants differ: they depend on the gauge (see `ketchup.maths.gauges`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from ketchup.estimators import Estimator, Numbers, estimator
from ketchup.estimators.objectives import EXPECTED_RETURN, NOTHING
from ketchup.maths.gauges import Gauge
from ketchup.maths.masked import masked_mean, masked_var
from ketchup_eval.stats.bootstrap import Array
from ketchup_eval.variance.terms import Terms, independent_part

LLMR = estimator("llmr")


@dataclass(frozen=True)
class InputStatistics:
    """Sufficient numbers of each input, arrays [I, E]; LLMR, which the ratios refer to, is always the first column.

    All rollouts of an input count equally at t = 0. An average over t gives each action of the input the same weight,
    as the policy gradient does: position t counts n_t times, the number of rollouts that have an action t, and only
    where n_t ≥ 2. (One weight per position would let the few longest rollouts decide.)
    """

    estimators: tuple[Estimator, ...]
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
    """Number of actions whose Ĝ_t is the full return; all of them for LLMR."""


class PerInput:
    """Reduces blocks of one student's rollouts, one block at a time."""

    def __init__(self, estimators: Sequence[Estimator], gauge: Gauge) -> None:
        self.gauge = gauge
        self.estimators = (LLMR, *estimators)
        self.terms = [Terms(row) if _has_terms(row) else None for row in self.estimators]

    def __call__(self, numbers: Numbers) -> InputStatistics:
        """The statistics of a block of inputs, in float64.

        Raises `ValueError` for one sample per input, values that are not finite, and rows that are not right-padded
        (see `ketchup.maths.masked.compact`).
        """
        _check(numbers)
        found = [self._of(row, terms, numbers) for row, terms in zip(self.estimators, self.terms, strict=True)]
        enough = _by_input(numbers, numbers.mask)[:, :, 0].sum(1) >= 2
        columns = {
            name: torch.where(enough, torch.stack([columns[name] for columns in found]), torch.nan).T.numpy()
            for name in found[0]
        }
        return InputStatistics(self.estimators, **columns)

    def _of(self, row: Estimator, terms: Terms | None, numbers: Numbers) -> dict[str, Tensor]:
        mask = _by_input(numbers, numbers.mask)
        returns = _by_input(numbers, row.returns(numbers, self.gauge))
        excess = returns - _by_input(numbers, row.target(numbers, self.gauge))
        variance, bias = masked_var(returns, mask, dim=1), masked_mean(excess, mask, dim=1)
        present = mask[:, :, 0]
        if row.objective is NOTHING:
            bias = torch.full_like(bias, torch.nan)
        squared_bias = bias[:, 0].square() - masked_var(excess[:, :, 0], present, dim=1) / present.sum(1)
        unknown = torch.full((len(mask),), torch.nan, dtype=torch.float64)
        return {
            "variance": variance[:, 0],
            "bias": bias[:, 0],
            "variance_mean_t": _mean_over_actions(variance, mask),
            "bias_mean_t": _mean_over_actions(bias, mask),
            "mse": variance[:, 0] + squared_bias,
            "independent": independent_part(numbers, terms) if terms else unknown,
            "terms": terms.mean_number(mask) if terms else unknown,
            "same_as_llmr": terms.full_returns(mask) if terms else unknown,
        }


def concatenate(blocks: Sequence[InputStatistics]) -> InputStatistics:
    """One `InputStatistics` for the inputs of all blocks, in order; they must be of the same estimators."""
    first = blocks[0]
    for block in blocks:
        ours, theirs = ([row.signature("raw") for row in one.estimators] for one in (first, block))
        if ours != theirs:
            raise ValueError(f"blocks of {', '.join(ours)} and of {', '.join(theirs)} do not join")
    names = [field.name for field in fields(first) if field.name != "estimators"]
    arrays = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in names}
    return InputStatistics(first.estimators, **arrays)


def _has_terms(row: Estimator) -> bool:
    """Whether its terms are those of LLMR's return, which Theorem 1 compares it with."""
    return row.coefficients is not None and row.objective is EXPECTED_RETURN


def _by_input(numbers: Numbers, values: Tensor) -> Tensor:
    """[I, N, T] of [R, T]."""
    return values.view(-1, numbers.samples, values.shape[1])


def _mean_over_actions(per_position: Tensor, mask: Tensor) -> Tensor:
    """Mean [I] of numbers per position [I, T], weighted by the rollouts alive there, if at least two are."""
    alive = mask.sum(1)
    weights = torch.where(alive >= 2, alive, 0)
    return torch.where(weights > 0, per_position * weights, 0).sum(1) / weights.sum(1)


def _check(numbers: Numbers) -> None:
    if numbers.samples < 2:
        raise ValueError(f"a variance needs at least 2 samples per input, not {numbers.samples}")
    if not (numbers.q.isfinite() & numbers.v.isfinite() | ~numbers.mask).all():
        raise ValueError("a teacher value of an action is not finite; an action the teacher rules out has no return")
