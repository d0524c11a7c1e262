"""A metric of a task's outputs, as training knows it: it is handed in from above, where metrics are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ketchup.tasks.base import Input


@dataclass(frozen=True)
class TaskMetric:
    """A score of a task's outputs: `score(inputs, texts)` of all of them together, a text for each input.

    `signature(inputs)` tells what two numbers must share to mean the same.
    """

    name: str
    higher_is_better: bool
    score: Callable[[Sequence[Input], Sequence[str]], float]
    signature: Callable[[Sequence[Input]], str]
