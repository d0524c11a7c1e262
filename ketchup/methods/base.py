"""What a method is: on whose tokens it learns, and what each of them costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from ketchup import checks
from ketchup.errors import UsageError
from ketchup.methods.credit import Credit

if TYPE_CHECKING:
    from torch import Tensor

    from ketchup.models.language_model import LanguageModel

Writer = Literal["reference", "teacher", "student"]
"""Whose tokens are prefixes: the data set's answers, outputs the teacher wrote once, the student's fresh rollouts."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One prompt with the `tokens[T]` after it; `action_mask[T]` is False for those that the environment writes.

    A policy gradient weighs each action: `weights` has one number per *action*, `teacher_log_probs` what the
    teacher thinks of it and `sampler_log_probs` what it was drawn with, where the engine told, in nats. With
    `most_ratio` the whole trajectory counts as its importance ratio, held at that: see `ketchup.maths.importance`.
    """

    prompt: list[int]
    tokens: Tensor
    action_mask: Tensor
    weights: Tensor | None = None
    teacher_log_probs: Tensor | None = None
    sampler_log_probs: Tensor | None = None
    most_ratio: float | None = None

    @classmethod
    def of(cls, prompt: list[int], tokens: Sequence[int], action_mask: Sequence[bool]) -> Trajectory:
        """From lists: what was read from a file or is a reference."""
        import torch

        return cls(prompt, torch.tensor(tokens, dtype=torch.long), torch.tensor(action_mask, dtype=torch.bool))

    @property
    def actions(self) -> int:
        """How many tokens count in the loss."""
        return int(self.action_mask.sum())


class Loss(NamedTuple):
    """A loss summed over the actions of a batch, and other sums over them that are worth a line in the log."""

    total: Tensor
    sums: Mapping[str, Tensor]


LossFunction: TypeAlias = "Callable[[LanguageModel, LanguageModel | None, Sequence[Trajectory]], Loss]"
"""From student, teacher (for methods that compare with it) and a batch; the loop alone decides what to divide by."""


@dataclass(frozen=True)
class Part:
    """One term of a loss: the mean over the tokens of one writer, times `weight`."""

    writer: Writer
    loss: LossFunction
    weight: float = 1.0


@dataclass(frozen=True)
class Sampling:
    """How a method draws the student's own tokens."""

    samples_per_input: int = 1
    temperature: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        checks.whole("--samples-per-input", self.samples_per_input)
        checks.temperature("--temperature", self.temperature)
        checks.whole("--top-k", self.top_k, least=0, because=" (0: the whole vocabulary)")
        if self.top_k == 1:
            raise UsageError("--top-k 1 leaves every action the chance 1; draw greedily with --temperature 0 instead.")
        if self.samples_per_input > 1 and self.temperature == 0:
            raise UsageError("--temperature 0 draws the same rollout every time; leave out --samples-per-input.")


@dataclass(frozen=True)
class Method:
    """A method with its options settled; `options` are all of them, for the manifest.

    `compares` says whether training asks the teacher for values of the student's or its own tokens, in a loss or in the
    weights of a policy gradient; `sft` and `seqkd` only read texts. With `credit` the student's
    rollouts get the weights of a policy gradient.
    """

    name: str
    parts: tuple[Part, ...]
    compares: bool = False
    sampling: Sampling | None = None
    credit: Credit | None = None
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def writers(self) -> set[Writer]:
        """Whose tokens the method learns from."""
        return {part.writer for part in self.parts}


def two_writers(loss: LossFunction, student_share: float) -> tuple[Part, ...]:
    """The same loss on the student's tokens and the teacher's, so weighed; a writer with weight 0 is left out."""
    checks.share("--student-share", student_share)
    parts = (Part("student", loss, student_share), Part("teacher", loss, 1 - student_share))
    return tuple(part for part in parts if part.weight > 0)
