"""Which rows a gradient is measured for, and the weights that each of them gives to the actions of rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ketchup.choices import Gauge
from ketchup.errors import UsageError
from ketchup.estimators import Baseline, Estimator, Numbers, baseline, estimator
from ketchup.estimators.numbers import gauge_needs

if TYPE_CHECKING:
    from torch import Tensor

FULL = LLMR, REVERSE_KL, *_ = tuple(map(estimator, ("llmr", "reverse-kl:1", "reverse-kl:0", "soft")))
"""Rows that are the whole return of their objective."""
NONE, STEADY = baseline("none"), baseline("leave-one-out-per-step")
"""The baseline with which the gradient of an objective itself is measured: no bias, and little noise."""


@dataclass(frozen=True)
class GradientRow:
    """An estimator with a baseline."""

    estimator: Estimator
    baseline: Baseline

    def signature(self, gauge: Gauge) -> str:
        """All that its gradient depends on."""
        return f"{self.estimator.signature(gauge)}|baseline:{self.baseline.name}"

    @property
    def unbiased(self) -> bool:
        """Whether its expected gradient is that of its objective."""
        return self.estimator.unbiased and self.baseline.unbiased


def rows_of(estimators: Sequence[Estimator], baselines: Sequence[str]) -> tuple[GradientRow, ...]:
    """Every estimator with every baseline, LLMR (K = 1) first; `UsageError` for a row that is more than weights."""
    for row in estimators:
        if row.all_actions:
            raise UsageError(f"--gradient weighs actions, and {row.name} has a term over all of them; leave it out.")
    named = {row.signature("raw"): row for row in (LLMR, *(row for row in estimators if row.k != 1))}
    return tuple(GradientRow(row, baseline(name)) for row in named.values() for name in dict.fromkeys(baselines))


class GradientRows:
    """The rows that are measured, and those whose gradients it takes to say how good they are.

    A gradient is linear in its weights: the bias of a row is the difference between the gradients of two of `measured`.
    """

    def __init__(self, rows: Sequence[GradientRow], gauge: Gauge) -> None:
        self.asked = tuple(rows)
        self.gauge = gauge
        self.objectives = {
            full.objective.name: full for full in (LLMR, REVERSE_KL, *(_full(row.estimator) for row in self.asked))
        }
        """Of each objective, the row that is its whole return."""
        steady = [_steady(row) for row in self.asked]
        aims = [GradientRow(full, STEADY) for full in self.objectives.values()]
        self.measured = {row.signature(gauge): row for row in (GradientRow(LLMR, NONE), *self.asked, *steady, *aims)}

    @property
    def needs(self) -> dict[str, str]:
        """The stored numbers that are looked at, and who needs each."""
        wanted: dict[str, str] = {}
        for row in self.measured.values():
            wanted |= dict.fromkeys(row.baseline.needs, f"the baseline {row.baseline.name}")
            wanted |= dict.fromkeys(
                row.estimator.needs | gauge_needs(row.estimator.gauge or self.gauge), row.estimator.name
            )
        return wanted

    def aim(self, objective: str) -> str:
        """The signature of the row whose gradient is that of an objective, with little noise."""
        return GradientRow(self.objectives[objective], STEADY).signature(self.gauge)

    def bias(self, row: GradientRow) -> tuple[str, str]:
        """Two signatures: the bias of a row is the gradient of the first without that of the second.

        An unbiased baseline has no part in it. That of both is the one that leaves little noise in what they differ by.
        """
        return self.steady(row), self.aim(row.estimator.objective.name)

    def steady(self, row: GradientRow) -> str:
        """The signature of a row with the same expected gradient, and little noise."""
        return _steady(row).signature(self.gauge)

    def weights(self, names: Sequence[str], numbers: Numbers) -> Tensor:
        """[M, R, T] of the named rows, 0 in padding. Means over the batch are means over these rollouts."""
        import torch  # noqa: PLC0415  (rows are named, and refused, without it)

        return torch.stack([self._weights(self.measured[name], numbers) for name in names])

    def _weights(self, row: GradientRow, numbers: Numbers) -> Tensor:
        returns = row.estimator.returns(numbers, self.gauge)
        return row.baseline.weights(returns, row.estimator.seen(numbers, self.gauge), row.estimator.objective)


def _steady(row: GradientRow) -> GradientRow:
    return replace(row, baseline=STEADY) if row.baseline.unbiased else row


def _full(row: Estimator) -> Estimator:
    """The row that is the whole return of this one's objective."""
    for known in FULL:
        if known.objective == row.objective:
            return known
    whole = row.objective.returns
    return Estimator(f"all of {row.objective.name}", whole, row.objective, True, row.objective.needs, gauge=row.gauge)
