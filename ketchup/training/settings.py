"""Everything that decides what a training run computes; the manifest records it, and a resumed run must agree."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ketchup.errors import UsageError
from ketchup.models.prompts import PromptStyle
from ketchup.processes import Precision
from ketchup.rollouts.names import EngineName

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
SCHEDULES = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class TrainSettings:
    """Settings of one run. Lengths are in tokens, `batch_size` and `limit` in inputs, the rest in optimiser steps.

    An optimiser step sees batch_size x accumulation inputs, in every process. `milestones` are steps whose weights
    are kept for good. `options` are those of the method. `teacher_temperature` 0 lets the teacher write greedily.
    `overridden` are the values of the `preset` that were given otherwise.
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
    schedule: str = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    normalization: Literal["tokens", "sequence"] = "tokens"
    lora: int = 0
    shard: bool = False
    precision: Precision = "auto"
    teacher_dtype: Dtype = "auto"
    eval_every: int = 100
    save_every: int = 100
    milestones: tuple[int, ...] = ()
    max_new_tokens: int | None = None
    prompt_style: PromptStyle | None = None
    teacher_temperature: float = 0.0
    engine: EngineName = "auto"
    save_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    seed: int = 0
    preset: str | None = None
    overridden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulation", "eval_every", "save_every", "validation_limit"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}.")
        if self.lora < 0:
            raise UsageError(f"--lora must be a rank above 0, or 0 to train all weights, not {self.lora}.")
        if self.lora and self.shard:
            raise UsageError("--shard spreads all weights of a student that trains them all; leave out --lora.")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"--steps must be at least 1, not {self.steps}.")
        if self.epochs <= 0 or self.learning_rate <= 0:
            raise UsageError("--epochs and --learning-rate must be above 0.")
        if self.schedule not in SCHEDULES:
            raise UsageError(f"--schedule must be one of {', '.join(SCHEDULES)}, not {self.schedule!r}.")
        if self.save_dtype not in ("float32", "bfloat16", "float16"):
            raise UsageError(f"--save-dtype must be float32, bfloat16 or float16, not {self.save_dtype!r}.")
