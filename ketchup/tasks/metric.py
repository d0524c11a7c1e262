"""A metric of a task's outputs, as training knows it: it is handed in from above, where metrics are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ketchup.tasks.base import Example


@dataclass(frozen=True)
class TaskMetric:
    """A score of a task's outputs: `score(examples, texts)` of all of them together, a text for each example.

    `signature(examples)` tells what two numbers must share to mean the same.
    """

    name: str
    higher_is_better: bool
    score: Callable[[Sequence[Example], Sequence[str]], float]
    signature: Callable[[Sequence[Example]], str]
