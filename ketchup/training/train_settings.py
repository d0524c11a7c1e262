"""Everything that decides what a training run computes; the manifest records it, and a resumed run must agree."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ketchup import checks
from ketchup.choices import Dtype, EngineName, Normalization, Precision, PromptStyle, SavedDtype, Schedule
from ketchup.errors import UsageError
from ketchup.rollouts.names import check_engine
from ketchup.where import Where

SCHEDULERS: dict[Schedule, str] = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}
"""What transformers calls the schedules; its own "constant" knows no warm-up."""

PLACES = ("device", "teacher_memory", "teacher_url", "teacher_key")
HIGHEST_RATE = 1000.0
"""Far above any use; towards the end of float32 the optimiser fails."""


@dataclass(frozen=True)
class TrainSettings:
    """Settings of one run. Lengths are in tokens, `batch_size` and `limit` in inputs, the rest in optimiser steps.

    An optimiser step sees batch_size x accumulation inputs, in every process. `milestones` are steps whose weights
    are kept for good. `options` are those of the method. `teacher_temperature` 0 lets the teacher write greedily.
    `overridden` are the values of the `preset` that were given otherwise. `correct_sampler` lets rollouts count as
    their truncated importance ratios. `select` is what the best checkpoint is chosen by: see `selection`.
    """

    method: str
    task: str
    student: str
    teacher: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    data: Path | None = None
    limit: int | None = None
    validation_limit: int = 200
    steps: int | None = None
    epochs: float = 1.0
    batch_size: int = 8
    accumulation: int = 1
    learning_rate: float = 3e-5
    schedule: Schedule = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    normalization: Normalization = "tokens"
    lora: int = 0
    shard: bool = False
    precision: Precision = "auto"
    device: str = "auto"
    teacher_dtype: Dtype = "auto"
    student_dtype: Dtype = "auto"
    teacher_memory: float | None = None
    teacher_url: str | None = None
    teacher_key: str | None = field(default=None, repr=False)
    eval_every: int = 100
    save_every: int = 100
    milestones: tuple[int, ...] = ()
    select: str | None = None
    max_new_tokens: int | None = None
    prompt_style: PromptStyle | None = None
    teacher_temperature: float = 0.0
    engine: EngineName = "auto"
    correct_sampler: bool = False
    save_dtype: SavedDtype = "float32"
    seed: int = 0
    preset: str | None = None
    overridden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulation", "eval_every", "save_every", "limit", "validation_limit", "steps"):
            checks.whole(f"--{name.replace('_', '-')}", getattr(self, name))
        for step in self.milestones:
            checks.whole("--milestones", step)
        checks.whole("--max-new-tokens", self.max_new_tokens, most=checks.LONGEST)
        checks.whole("--warmup-steps", self.warmup_steps, least=0)
        checks.whole("--lora", self.lora, least=0, because=", the rank of adapters (0: all weights are trained)")
        checks.finite("--epochs", self.epochs, above=0, most=checks.LONGEST)
        checks.finite("--learning-rate", self.learning_rate, above=0, most=HIGHEST_RATE)
        checks.finite("--weight-decay", self.weight_decay, least=0)
        checks.finite("--max-grad-norm", self.max_grad_norm, least=0, because=" (0: gradients are not clipped)")
        checks.temperature("--teacher-temperature", self.teacher_temperature)
        checks.seed("--seed", self.seed)
        if self.learning_rate * self.weight_decay >= 1:
            raise UsageError(
                f"--weight-decay {self.weight_decay:g} times --learning-rate {self.learning_rate:g} must be below 1, "
                "or every step would turn the weights over."
            )
        if self.lora and self.shard:
            raise UsageError("--shard spreads all weights of a student that trains them all; leave out --lora.")
        checks.choice("--schedule", self.schedule, Schedule)
        checks.choice("--save-dtype", self.save_dtype, SavedDtype)
        if self.student_dtype == "float16":
            raise UsageError(
                "--student-dtype float16 cannot be trained, as small gradients vanish in it; use bfloat16."
            )
        if self.teacher_memory is not None and self.shard:
            raise UsageError("--shard spreads the teacher over all processes; leave out --teacher-memory.")
        check_engine(self.engine)
        _ = self.where

    def check_fits(self, steps: int) -> None:
        """Raises `UsageError` for a warm-up or a milestone that a run of so many steps does not reach the end of."""
        if self.warmup_steps >= steps:
            raise UsageError(
                f"--warmup-steps must be below the {steps:,} steps of the run, which else never reaches its learning "
                f"rate, not {self.warmup_steps}."
            )
        if self.milestones and max(self.milestones) > steps:
            raise UsageError(f"--milestones must be within the {steps:,} steps of the run, not {max(self.milestones)}.")

    @property
    def where(self) -> Where:
        """Where models compute, and in which types."""
        return Where(
            self.device,
            self.teacher_dtype,
            self.student_dtype,
            self.teacher_memory,
            self.teacher_url,
            self.teacher_key,
        )

    def recorded(self) -> dict[str, Any]:
        """Those that decide what is computed: not where, which a run may change, and what follows from it."""
        found = {name: value for name, value in asdict(self).items() if name not in PLACES}
        return found if self.select else {name: value for name, value in found.items() if name != "select"}
