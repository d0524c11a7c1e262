"""What is asked of gradients."""

from collections.abc import Sequence
from dataclasses import dataclass

from ketchup import checks
from ketchup.errors import UsageError
from ketchup_eval.variance.gradient.rows import GradientRow

BASELINES = ("none", "leave-one-out-per-step")
"""Those that are measured unless others are named."""
SHORTEST = 64
"""Length of the shortest vectors that may stand for gradients: products of theirs err by √(2 / 64) = 18% at most."""
FEWEST = 3
"""Inputs below which the products of different ones have no interval."""


@dataclass(frozen=True)
class GradientSettings:
    """The rows, by which weights of the student, and the rollouts of a batch that a recommendation is for.

    `projection` is the length of the vectors that stand for longer gradients, `None` for what `gradients` chooses.
    """

    rows: tuple[GradientRow, ...]
    where: str = "head"
    batch: int = 256
    projection: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_numbers(self.batch, self.projection)


def check_numbers(batch: int, projection: int | None) -> None:
    """`UsageError` for numbers that settings cannot have."""
    checks.whole("--batch", batch)
    checks.whole("--projection", projection, SHORTEST, because=", as products of shorter vectors say nothing")


def check_inputs(inputs: int) -> None:
    """`UsageError` where there are too few inputs to compare their gradients with each other."""
    if inputs < FEWEST:
        raise UsageError(
            f"--gradient compares gradients of different inputs, of which it takes at least {FEWEST}, not {inputs}; "
            "use a larger --limit or more rows."
        )


def controls(ks: Sequence[int], *, served: bool = False) -> list[str]:
    """The rows that are measured beside K-step returns unless others are named; `served` leaves out what needs more."""
    shrunk = [f"shrink:{1 / k:g}" for k in sorted(set(ks)) if k > 1]
    whole = [] if served else ["expected-future"]
    return [*shrunk, *whole, "reverse-kl:0", "placebo:constant", "placebo:shuffled"]
