"""Does more return buy more quality? The return of each output beside its task metric."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ketchup.errors import DataError
from ketchup_eval.evaluation.evaluate import Evaluation
from ketchup_eval.metrics import METRICS
from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.correlation import spearman


@dataclass(frozen=True)
class Correlation:
    """Spearman's ρ over inputs between `returns[n]` and `quality[n]`, the segment's own score in `metric`."""

    run: str
    metric: str
    higher_is_better: bool
    rho: Estimate
    returns: Array
    quality: Array


@dataclass(frozen=True)
class Change:
    """How far return and metric moved together from one run to another, per input: ρ of the two differences."""

    run: str
    against: str
    metric: str
    rho: Estimate
    return_change: float
    metric_change: float


def correlations(evaluation: Evaluation) -> list[Correlation]:
    """One for each score of the task's metrics, over the inputs that have a return."""
    seed, resamples = evaluation.about["seed"], evaluation.about["resamples"]
    returns = _returns(evaluation)
    found = []
    for name, values in evaluation.statistics.items():
        for scale in METRICS[name].scales:
            quality = scale.of_segments(values)
            known = ~np.isnan(returns)
            x, y = returns[known], quality[known]
            rho = spearman(x, y, seed, resamples)
            found.append(Correlation(evaluation.run.name, scale.name, scale.higher_is_better, rho, x, y))
    return found


def changes(evaluations: Sequence[Evaluation]) -> list[Change]:
    """The same for the change of every run against the first, over the inputs of both."""
    first, *others = evaluations
    found = []
    for other in others:
        if other.outputs.ids != first.outputs.ids:
            raise DataError(f"{other.run.name} and {first.run.name} have other inputs; evaluate both on the same rows.")
        gained = _returns(other) - _returns(first)
        known = ~np.isnan(gained)
        for name in filter(other.statistics.__contains__, first.statistics):
            for scale in METRICS[name].scales:
                better = scale.of_segments(other.statistics[name]) - scale.of_segments(first.statistics[name])
                rho = spearman(gained[known], better[known], other.about["seed"], other.about["resamples"])
                found.append(
                    Change(
                        other.run.name,
                        first.run.name,
                        scale.name,
                        rho,
                        float(gained[known].mean()),
                        _corpus(other, name, scale.name) - _corpus(first, name, scale.name),
                    )
                )
    return found


def _corpus(evaluation: Evaluation, metric: str, scale_name: str) -> float:
    values = evaluation.statistics[metric]
    scale = next(scale for scale in METRICS[metric].scales if scale.name == scale_name)
    return float(scale.of_sums(values.sum(axis=0), len(values)))


def _returns(evaluation: Evaluation) -> Array:
    rows = evaluation.outputs.predictions
    returns = np.array([np.nan if row.mean_return is None else row.mean_return for row in rows])
    if np.isnan(returns).all():
        raise DataError(f"{evaluation.run.name} has no returns to correlate with; evaluate it with --teacher MODEL.")
    return returns
