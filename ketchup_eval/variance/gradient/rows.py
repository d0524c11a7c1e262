"""Which rows a gradient is measured for, and the weights that each of them gives to the actions of rollouts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ketchup.errors import UsageError
from ketchup.estimators import Baseline, Estimator, Numbers, Objective, baseline, estimator
from ketchup.maths.gauges import Gauge

LLMR, REVERSE_KL = estimator("llmr"), estimator("reverse-kl:1")
STEADY = baseline("leave-one-out-per-step")
"""The baseline with which the gradient of an objective itself is measured: no bias, and little noise."""


@dataclass(frozen=True)
class Row:
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


def rows_of(estimators: Sequence[Estimator], baselines: Sequence[str]) -> tuple[Row, ...]:
    """Every estimator with every baseline, LLMR (K = 1) first; `UsageError` for a row that is more than weights."""
    for row in estimators:
        if row.all_actions:
            raise UsageError(f"--gradient weighs actions, and {row.name} has a term over all of them; leave it out.")
    named = {row.signature("raw"): row for row in (LLMR, *(row for row in estimators if row.k != 1))}
    return tuple(Row(row, baseline(name)) for row in named.values() for name in dict.fromkeys(baselines))


class Weights:
    """Weights of all rows at once, of their biases, and of the gradients that they are held against."""

    def __init__(self, rows: Sequence[Row], gauge: Gauge) -> None:
        self.rows = tuple(rows)
        self.gauge = gauge
        by_objective = {row.estimator.objective.name: row.estimator for row in self.rows}
        targets = {LLMR.objective.name: LLMR, REVERSE_KL.objective.name: REVERSE_KL, **by_objective}
        self.targets: dict[str, Estimator] = targets

    @property
    def needs(self) -> dict[str, str]:
        """The stored numbers that are looked at, and who needs each."""
        wanted: dict[str, str] = {}
        for row in self.rows:
            wanted |= dict.fromkeys(row.estimator.needs, row.estimator.name)
            wanted |= dict.fromkeys(row.baseline.needs, f"the baseline {row.baseline.name}")
        for target in self.targets.values():
            wanted |= dict.fromkeys(target.needs, target.name)
        return wanted

    def of(self, numbers: Numbers) -> Tensor:
        """[M, R, T]: rows, then the bias of each, then targets, as `split` takes them apart; 0 in padding.

        The bias of a row is what it weighs an action more than the full return of its objective. An unbiased baseline
        has no part in that. Means over the batch are means over these rollouts.
        """
        found, biases = [], []
        for row in self.rows:
            seen = row.estimator.seen(numbers, self.gauge)
            returns = row.estimator.returns(numbers, self.gauge)
            weights = row.baseline.weights(returns, seen, row.estimator.objective)
            target = row.estimator.target(numbers, self.gauge)
            found.append(weights)
            biases.append((returns if row.baseline.unbiased else weights) - target)
        aims = [self._steady(target, numbers) for target in self.targets.values()]
        return torch.stack([*found, *biases, *aims])

    def _steady(self, row: Estimator, numbers: Numbers) -> Tensor:
        objective: Objective = row.objective
        return STEADY.weights(row.target(numbers, self.gauge), row.seen(numbers, self.gauge), objective)
