"""Which checkpoint is the best: that of the best validation, by the return, the loss or a metric of the task.

A metric scores greedy outputs for the validation inputs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ketchup.errors import DataError, UsageError
from ketchup.methods.base import Method
from ketchup.tasks.base import Input
from ketchup.tasks.metric import TaskMetric
from ketchup.training.metrics import OWN_SELECTIONS, VALIDATION

RETURN, LOSS = OWN_SELECTIONS


@dataclass(frozen=True)
class Selection:
    """The quantity of validation by which the best checkpoint is taken; of a `metric`, the `inputs` it scores."""

    name: str
    higher_is_better: bool
    metric: TaskMetric | None = None
    inputs: Sequence[Input] = ()

    def is_better(self, value: float, than: float | None) -> bool:
        """Whether a checkpoint with `value` goes before the best until now; one that equals it does not."""
        if not math.isfinite(value):
            return False
        return than is None or (value > than if self.higher_is_better else value < than)

    def value(self, entry: Mapping[str, float]) -> float | None:
        """What a row of the log has of it; `None` where that step was not validated."""
        return entry.get(f"{VALIDATION}{self.name}")

    @property
    def recorded(self) -> dict[str, Any]:
        """What the manifest says of it beside its name."""
        signature = {"select_signature": self.metric.signature(self.inputs)} if self.metric else {}
        return {"select_higher_is_better": self.higher_is_better, **signature}


def selection(name: str | None, method: Method, metric: TaskMetric | None, inputs: Sequence[Input]) -> Selection:
    """The selection called so; by default the return of a policy gradient, and the loss of other methods.

    Raises `UsageError` for a quantity that the method's validation has not, and `DataError` for validation rows whose
    references the metric has no use for.
    """
    if metric is not None:
        _check_references(metric, inputs)
        return Selection(metric.name, metric.higher_is_better, metric, inputs)
    if name is None:
        name = LOSS if method.credit is None else RETURN
    if name == RETURN and not method.compares:
        raise UsageError(
            f"The method {method.name!r} does not ask the teacher for returns in validation; --select loss or a metric "
            "of the task."
        )
    if name == LOSS and method.credit is not None:
        raise UsageError(
            f"The loss of the policy gradient {method.name!r} says nothing about how good the student is; --select "
            "return or a metric of the task."
        )
    if name not in OWN_SELECTIONS:
        raise UsageError(f"--select {name} needs the metric of that name, and none was given.")
    return Selection(name, higher_is_better=name == RETURN)


def _check_references(metric: TaskMetric, inputs: Sequence[Input]) -> None:
    """Before anything is loaded: whatever a reference lacks is found by scoring an empty text against it."""
    for one in inputs:
        if not any(reference.strip() for reference in one.references):
            raise DataError(
                f'The validation row "{one.id}" has no reference, which --select {metric.name} needs; fill it in, '
                "or select by return or loss."
            )
    if not inputs:
        return
    try:
        metric.score(inputs, [""] * len(inputs))  # all at once, as some metrics take their time
    except DataError:
        for one in inputs:
            try:
                metric.score([one], [""])
            except DataError as error:
                raise DataError(f'--select {metric.name}, validation row "{one.id}": {error}') from error
        raise
