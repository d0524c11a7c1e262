"""The one training loop, top to bottom; it does not know which method it runs.

Differences from the paper: no dropout anywhere (so that a resumed run repeats an unbroken one bit for bit), and the
loss of an optimiser step is the mean over *all* its actions, in every micro-batch and every process, never a mean of
means. The order of the data follows from seed and epoch alone, the position in it from the step.
"""

import json
import math
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from accelerate import Accelerator
from torch.optim import AdamW, Optimizer
from transformers import get_scheduler

from ketchup.errors import RunError
from ketchup.methods.base import Demonstration, Method
from ketchup.models.language_model import LanguageModel
from ketchup.progress import progress
from ketchup.runs import append_jsonl, atomic_write_text, read_jsonl
from ketchup.training.checkpoints import TrainerState, last_state, save
from ketchup.training.settings import TrainSettings

METRICS = "metrics.jsonl"


def train(
    settings: TrainSettings,
    method: Method,
    student: LanguageModel,
    rows: Sequence[Demonstration],
    validation: Sequence[Demonstration],
    run: Path,
) -> Path:
    """Trains `student` in place on `rows`, from the run's last checkpoint if it has one; returns the last checkpoint.

    Raises `RunError` when the loss is no longer a finite number; the checkpoint before that stays.
    """
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    student.network.to(accelerator.device).eval()
    optimizer = AdamW(
        student.network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.999), weight_decay=settings.weight_decay
    )
    steps = total_steps(settings, len(rows), accelerator.num_processes)
    schedule = get_scheduler(settings.schedule, optimizer, settings.warmup_steps, steps)
    state = _resume(run, student, optimizer)
    schedule.last_epoch = state.step  # the optimiser's state brought the learning rate of this step along
    started, actions = time.monotonic(), 0
    with progress(f"train {method.name}", total=steps, unit="steps", done=state.step) as bar:
        while state.step < steps:
            batch = [rows[index] for index in step_inputs(settings, state.step, len(rows), accelerator.num_processes)]
            mine = batch[accelerator.process_index :: accelerator.num_processes]
            loss, norm = _optimiser_step(settings, method, student, optimizer, batch, mine, accelerator)
            state.step += 1
            actions += sum(row.actions for row in batch)
            entry = {"step": state.step, "loss": loss, "grad_norm": norm, "lr": optimizer.param_groups[0]["lr"]}
            _check_finite(entry, run)
            schedule.step()
            last = state.step == steps
            if last or state.step % settings.eval_every == 0:
                entry["validation_loss"] = validate(method, student, validation, settings.batch_size)
                if state.best_loss is None or entry["validation_loss"] < state.best_loss:
                    state.best_step, state.best_loss = state.step, entry["validation_loss"]
            entry["actions_per_second"] = actions / (time.monotonic() - started)
            if accelerator.is_main_process:
                append_jsonl(run / METRICS, entry)
            if last or state.step % settings.save_every == 0 or state.step in (*settings.milestones, state.best_step):
                _save(run, student, optimizer, state, settings, accelerator)
            bar.advance(1, note=f"loss {loss:.3f}")
    return (run / "last").resolve()


def total_steps(settings: TrainSettings, inputs: int, processes: int = 1) -> int:
    """Optimiser steps of the run: as given, or what the epochs amount to."""
    if settings.steps is not None:
        return settings.steps
    return max(1, math.ceil(settings.epochs * inputs / _inputs_per_step(settings, processes)))


def step_inputs(settings: TrainSettings, step: int, inputs: int, processes: int = 1) -> list[int]:
    """Which inputs the step (from 0) sees, all processes together.

    Epochs are permutations that follow one another without a gap, so every input comes equally often.
    """
    size = _inputs_per_step(settings, processes)
    places = range(step * size, (step + 1) * size)
    return [_permutation(settings.seed, place // inputs, inputs)[place % inputs] for place in places]


@torch.no_grad()
def validate(method: Method, student: LanguageModel, rows: Sequence[Demonstration], batch_size: int) -> float:
    """Mean loss per action over the validation rows, in nats."""
    by_length = sorted(rows, key=lambda row: len(row.tokens))
    batches = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
    return sum(method.loss(student, batch).item() for batch in batches) / sum(row.actions for row in rows)


def _inputs_per_step(settings: TrainSettings, processes: int) -> int:
    return settings.batch_size * settings.accumulation * processes


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, inputs: int) -> list[int]:
    order: list[int] = torch.randperm(
        inputs, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    ).tolist()
    return order


def _optimiser_step(
    settings: TrainSettings,
    method: Method,
    student: LanguageModel,
    optimizer: Optimizer,
    batch: Sequence[Demonstration],
    mine: Sequence[Demonstration],
    accelerator: Accelerator,
) -> tuple[float, float]:
    """One update from the whole accumulated batch; returns its mean loss per action and the gradient norm."""
    total = sum(row.actions for row in batch)
    # Sorted, a micro-batch is nearly free of padding; the sum of losses does not see the order.
    by_length = sorted(mine, key=lambda row: len(row.prompt) + len(row.tokens))
    summed = torch.zeros((), device=accelerator.device)
    for start in range(0, len(by_length), settings.batch_size):
        loss = method.loss(student, by_length[start : start + settings.batch_size]) / total
        loss.backward()
        summed += loss.detach()
    for parameter in student.network.parameters():
        if accelerator.num_processes > 1 and parameter.grad is not None:
            parameter.grad = accelerator.reduce(parameter.grad, "sum")
    norm = torch.nn.utils.clip_grad_norm_(student.network.parameters(), settings.max_grad_norm)
    if torch.isfinite(norm):
        optimizer.step()
    optimizer.zero_grad()
    return float(accelerator.reduce(summed, "sum")), float(norm)


def _resume(run: Path, student: LanguageModel, optimizer: Optimizer) -> TrainerState:
    """Puts the last checkpoint's weights and moments back and forgets what was logged after it."""
    found = last_state(run)
    logged, _ = read_jsonl(run / METRICS)
    if found is None:
        if logged:
            atomic_write_text(run / METRICS, "")
        return TrainerState()
    folder, state = found
    weights = state.weights or type(student.network).from_pretrained(folder, dtype=student.network.dtype).state_dict()
    student.network.load_state_dict(weights)
    optimizer.load_state_dict(state.optimizer)
    kept = [row for row in logged if row["step"] <= state.step]
    if len(kept) < len(logged):
        atomic_write_text(run / METRICS, "".join(json.dumps(row) + "\n" for row in kept))
    return state


def _save(
    run: Path,
    student: LanguageModel,
    optimizer: Optimizer,
    state: TrainerState,
    settings: TrainSettings,
    accelerator: Accelerator,
) -> None:
    state.optimizer = optimizer.state_dict()
    if accelerator.is_main_process:
        save(run, student, state, settings.save_dtype, settings.milestones)
    accelerator.wait_for_everyone()


def _check_finite(entry: dict[str, float], run: Path) -> None:
    if not (math.isfinite(entry["loss"]) and math.isfinite(entry["grad_norm"])):
        raise RunError(
            f"The loss became {entry['loss']} (gradient norm {entry['grad_norm']}) at step {entry['step']:.0f} "
            f"of {run}; lower --learning-rate and use another --name. The last checkpoint is kept."
        )
