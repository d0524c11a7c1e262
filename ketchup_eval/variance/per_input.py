"""From the numbers of a block of rollouts to a few numbers per input for each estimator: what is averaged afterwards.

Axes: I inputs, N samples per input, T actions, E estimators. Units follow the return: nats, variances nats². A rollout
without any action is an absent one (dropped because it was cut off, say). An input with fewer than two rollouts has no
variance, and is left out of every number here so that all of them describe the same inputs.

Numbers about t = 0 are about the whole output; s_0 is the input, so no gauge moves them. Numbers averaged over t
compare rollouts in different states, whose constants differ: they depend on the gauge (see `ketchup.maths.gauges`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ketchup.choices import Gauge
from ketchup.estimators import Estimator, Numbers, estimator
from ketchup.estimators.objectives import EXPECTED_RETURN, NOTHING
from ketchup.maths.masked import degrees, masked_mean
from ketchup_eval.stats.bootstrap import Array
from ketchup_eval.variance.slices import Bins, joined
from ketchup_eval.variance.terms import Terms
from ketchup_eval.variance.theory import PIECES, Parts

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
    positions: Array
    """With `states`, `steps` and `lengths` the pieces of `variance` that `ketchup_eval.variance.theory` has."""
    states: Array
    steps: Array
    lengths: Array
    variance_by_position: Array
    """These four are [I, E, B], by the bins of `ketchup_eval.variance.slices`."""
    bias_by_position: Array
    variance_by_length: Array
    bias_by_length: Array
    actions_by_position: Array
    """These two are [I, B]: how many enter."""
    rollouts_by_length: Array


class PerInput:
    """Reduces blocks of one student's rollouts, one block at a time."""

    def __init__(self, estimators: Sequence[Estimator], gauge: Gauge) -> None:
        self.gauge = gauge
        self.estimators = (LLMR, *estimators)
        self.terms = [Terms(row) if _has_terms(row) else None for row in self.estimators]

    def __call__(self, numbers: Numbers, weights: Tensor | None = None) -> InputStatistics:
        """The statistics of a block of inputs, in float64.

        With `weights` [I, N] a rollout counts as much, in proportion to the other ones of its input: means are Σ w x /
        Σ w, and variances as `ketchup.maths.masked.masked_var` says.

        Raises `ValueError` for one sample per input, values that are not finite, and rows that are not right-padded
        (see `ketchup.maths.masked.compact`).
        """
        _check(numbers)
        block = Block(numbers, self.gauge, weights)
        rows = []
        for row, terms in zip(self.estimators, self.terms, strict=True):
            found = block.of_row(row)
            rows.append({**found, **block.of_terms(terms, found["variance"])})
        arrays = {
            name: torch.where(
                block.enough.view(-1, *[1] * rows[0][name].ndim),
                torch.stack([row[name] for row in rows], dim=1),
                torch.nan,
            ).numpy()
            for name in rows[0]
        }
        counts = {"actions_by_position": block.bins.actions, "rollouts_by_length": block.bins.rollouts}
        counts = {name: torch.where(block.enough[:, None], count, torch.nan) for name, count in counts.items()}
        return InputStatistics(self.estimators, **arrays, **{name: count.numpy() for name, count in counts.items()})


class Block:
    """Some inputs' rollouts, with what all rows have in common computed once; arrays are [I, N, T].

    Weights are made to have the mean 1 over the rollouts of an input, so that they add up to their number.
    """

    def __init__(self, numbers: Numbers, gauge: Gauge, weights: Tensor | None = None) -> None:
        self.numbers, self.gauge = numbers, gauge
        self.mask = self._by_input(numbers.mask)
        self.lengths = self.mask.sum(2)
        present = self.mask[:, :, 0]
        self.enough = present.sum(1) >= 2
        weights = torch.ones(present.shape, dtype=torch.float64) if weights is None else weights
        self.weights = weights / masked_mean(weights, present, dim=1)[:, None]
        counted = self.mask * self.weights[:, :, None]
        self.alive = counted.sum(1)
        self.free = degrees(counted, self.mask, 1)
        self.bins = Bins(self.mask, self.weights)
        self.parts = Parts(numbers.in_gauge(gauge), self.weights)
        self._targets: dict[tuple[str, bool], Tensor] = {}

    def of_row(self, row: Estimator) -> dict[str, Tensor]:
        """What can be said of any row: [I], or [I, B]. Returns are 0 in padding, so plain sums are over actions."""
        returns, target = self._by_input(row.returns(self.numbers, self.gauge)), self._target(row)
        weights = self.weights[:, :, None]
        mean = (returns * weights).sum(1) / self.alive
        deviations = (returns - mean[:, None]) * self.mask
        variance = (deviations * deviations * weights).sum(1) / self.free
        bias = mean - (target * weights).sum(1) / self.alive
        excess = returns[:, :, 0] - target[:, :, 0]
        if row.objective is NOTHING:
            bias, excess = torch.full_like(bias, torch.nan), torch.full_like(excess, torch.nan)
        noise = self._noise(excess)
        variance_by_length, bias_by_length = self.bins.by_length(returns[:, :, 0], excess)
        return {
            "variance": variance[:, 0],
            "bias": bias[:, 0],
            "variance_mean_t": self.bins.over_actions(variance),
            "bias_mean_t": self.bins.over_actions(bias),
            "mse": variance[:, 0] + bias[:, 0].square() - noise,
            "variance_by_position": self.bins.by_position(variance),
            "bias_by_position": self.bins.by_position(bias),
            "variance_by_length": variance_by_length,
            "bias_by_length": bias_by_length,
        }

    def of_terms(self, terms: Terms | None, variance: Tensor) -> dict[str, Tensor]:
        """What Theorem 1 speaks of, [I]; unknown of a row without LLMR's terms."""
        if terms is None:
            unknown = torch.full_like(variance, torch.nan)
            return dict.fromkeys(("independent", "terms", "same_as_llmr", *PIECES), unknown)
        coefficients = terms.of_first_returns(self.lengths, self.mask.shape[2])
        return {
            "independent": self.parts.independent(coefficients),
            "terms": terms.mean_number(self.lengths, self.weights),
            "same_as_llmr": terms.full_returns(self.alive),
            **self.parts.pieces(coefficients, variance),
        }

    def _noise(self, values: Tensor) -> Tensor:
        """The variance [I] of the mean of `values` [I, N], Σ w² (x - mean)² / (Σ w (Σ w - Σ w² / Σ w))."""
        present = self.mask[:, :, 0]
        mean = masked_mean(values, present, 1, self.weights)
        squares = torch.where(present, self.weights * (values - mean[:, None]), 0).square().sum(1)
        return squares / (self.alive[:, 0] * self.free[:, 0])

    def _target(self, row: Estimator) -> Tensor:
        """What the row's return would be without bias; one for all rows of an objective."""
        key = (row.objective.name, row.all_actions)
        if key not in self._targets:
            self._targets[key] = self._by_input(row.target(self.numbers, self.gauge))
        return self._targets[key]

    def _by_input(self, values: Tensor) -> Tensor:
        return values.view(-1, self.numbers.samples, values.shape[1])


def concatenate(blocks: Sequence[InputStatistics]) -> InputStatistics:
    """One `InputStatistics` for the inputs of all blocks, in order; they must be of the same estimators."""
    first = blocks[0]
    for block in blocks:
        ours, theirs = ([row.signature("raw") for row in one.estimators] for one in (first, block))
        if ours != theirs:
            raise ValueError(f"blocks of {', '.join(ours)} and of {', '.join(theirs)} do not join")
    names = [field.name for field in fields(first) if field.name != "estimators"]
    arrays = {name: joined([getattr(block, name) for block in blocks]) for name in names}
    return InputStatistics(first.estimators, **arrays)


def _has_terms(row: Estimator) -> bool:
    """Whether its terms are those of LLMR's return, which Theorem 1 compares it with."""
    return row.coefficients is not None and row.objective is EXPECTED_RETURN


def _check(numbers: Numbers) -> None:
    if numbers.samples < 2:
        raise ValueError(f"a variance needs at least 2 samples per input, not {numbers.samples}")
    if not (torch.where(numbers.mask, numbers.q, 0).sum() + numbers.advantages.sum()).isfinite():
        raise ValueError("a teacher value of an action is not finite; an action the teacher rules out has no return")
