"""What a variance study is asked to do, in two parts: what decides the rollouts, and what is computed from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ketchup import checks
from ketchup.choices import EngineName, Gauge, PromptStyle, Split, Tail
from ketchup.errors import UsageError
from ketchup.estimators import Estimator, estimator, k_step
from ketchup.models.served.needs import check_baseline, check_gauge, check_row
from ketchup.rollouts.names import check_engine
from ketchup.rollouts.types import Decoding
from ketchup_eval.variance.gradient.gradient_settings import GradientSettings
from ketchup_eval.variance.over_inputs import OverInputs


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
        checks.whole("--samples", self.samples, least=2, because=", as one sample has no variance")
        checks.seed("--seed", self.seed)
        checks.choice("--split", self.split, Split)
        checks.choice("--prompt-style", self.prompt_style, PromptStyle)
        check_engine(self.engine)
        if self.decoding.greedy:
            alone = "--temperature 0" if self.decoding.temperature == 0 else "--top-k 1"
            raise UsageError(f"{alone} draws the same rollout every time, which has no variance; leave it out.")
        if len(set(self.students)) < len(self.students):
            raise UsageError("A student is named twice; name each --student once.")


@dataclass(frozen=True)
class AnalysisSettings:
    """What is computed from the rollouts. Other values cost no sampling."""

    estimators: tuple[Estimator, ...]
    gauge: Gauge
    limit: int | None
    gradient: GradientSettings | None = None
    intervals: OverInputs = field(default_factory=OverInputs)
    correct_sampler: bool = False
    """Rollouts count as their truncated importance ratios, see `ketchup.maths.importance`."""
    served: bool = False
    """Whether the teacher is behind a server, which gives two numbers a token."""

    def __post_init__(self) -> None:
        checks.whole("--limit", self.limit)
        checks.choice("--gauge", self.gauge, Gauge)
        if self.correct_sampler and self.gradient:
            raise UsageError("--correct-sampler weighs rollouts in the table of returns; leave out --gradient.")
        if self.served:
            check_gauge(self.gauge)
            for row in self.estimators:
                check_row(row)
            for pair in self.gradient.rows if self.gradient else ():
                check_row(pair.estimator)
                check_baseline(pair.baseline)

    @property
    def alike(self) -> dict[str, Any]:
        """What processes that share a study must agree on beside the rollouts' settings, as plain values."""
        gradient = self.gradient and {
            **vars(self.gradient),
            "rows": [f"{row.estimator.name}, {row.baseline.name}" for row in self.gradient.rows],
        }
        return {
            "limit": self.limit,
            "estimators": [row.signature(self.gauge) for row in self.estimators],
            "gradient": gradient,
            "correct_sampler": self.correct_sampler,
        }

    @property
    def ks(self) -> list[int]:
        """The K of the K-step returns."""
        return sorted({row.k for row in self.estimators if row.k is not None})

    @property
    def tails(self) -> list[Tail]:
        """Their tails."""
        return list(dict.fromkeys(row.tail for row in self.estimators if row.tail is not None))


def estimators_of(ks: Sequence[int], tails: Iterable[Tail], texts: Iterable[str]) -> tuple[Estimator, ...]:
    """K-step returns of each tail and K, and the rows that `texts` name, each once."""
    for k in ks:
        checks.whole("--k", k, most=checks.LONGEST)
    rows = [k_step.build(k, tail) for tail in tails for k in sorted(ks)] + [estimator(text) for text in texts]
    return tuple({row.signature("raw"): row for row in rows}.values())
