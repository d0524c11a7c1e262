"""What a variance study is asked to do, in two parts: what decides the rollouts, and what is computed from them."""

from dataclasses import dataclass
from pathlib import Path

from ketchup.errors import UsageError
from ketchup.maths.gauges import Gauge
from ketchup.maths.returns import Tail
from ketchup.models.prompts import PromptStyle
from ketchup.rollouts.names import EngineName
from ketchup.rollouts.types import Decoding
from ketchup.tasks.base import Split


@dataclass(frozen=True)
class RolloutSettings:
    """What decides the rollouts and their scores. Changing one of these means to sample again."""

    task: str
    teacher: str
    students: tuple[str, ...]
    data: Path | None
    split: Split
    samples: int
    decoding: Decoding
    prompt_style: PromptStyle | None
    engine: EngineName
    seed: int

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise UsageError(f"--samples must be at least 2, as one sample has no variance, not {self.samples}.")
        if len(set(self.students)) < len(self.students):
            raise UsageError("A student is named twice; name each --student once.")


@dataclass(frozen=True)
class AnalysisSettings:
    """What is computed from the rollouts. Other values cost no sampling."""

    ks: tuple[int, ...]
    tails: tuple[Tail, ...]
    gauge: Gauge
    limit: int | None

    def __post_init__(self) -> None:
        for k in self.ks:
            if k < 1:
                raise UsageError(f"--k must be at least 1, not {k}.")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit must be at least 1, not {self.limit}.")
