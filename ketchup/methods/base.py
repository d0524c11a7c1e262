"""What a method is: where the tokens come from that the student is trained on, and the loss each of them gets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ketchup.models.language_model import LanguageModel

TokenSource = Literal["reference", "teacher"]
"""`reference`: the data set's own answers; `teacher`: outputs that the teacher generated once, cached."""


@dataclass(frozen=True)
class Demonstration:
    """One prompt with tokens to learn from; `chosen` is False for those that the environment writes."""

    prompt: list[int]
    tokens: list[int]
    chosen: list[bool]

    @property
    def actions(self) -> int:
        """How many tokens count in the loss."""
        return sum(self.chosen)


@dataclass(frozen=True)
class Method:
    """`loss(student, batch)` is a sum over the batch's actions: the loop alone decides what to divide it by."""

    name: str
    tokens: TokenSource
    loss: Callable[[LanguageModel, Sequence[Demonstration]], Tensor]
