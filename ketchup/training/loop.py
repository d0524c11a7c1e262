"""The one training loop, top to bottom; it does not know which method it runs.

Differences from the paper: no dropout anywhere (so that a resumed run repeats an unbroken one bit for bit), and the
loss of an optimiser step is the mean over *all* its actions, in every micro-batch and every process, never a mean of
means. The order of the data follows from seed and epoch alone, the position in it from the step; rollouts follow from
the seed, the step and the weights.
"""

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch.optim import AdamW, Optimizer
from transformers import get_scheduler

from ketchup.errors import RunError
from ketchup.files import append_jsonl
from ketchup.hashes import content_hash
from ketchup.manifests import note_circumstances
from ketchup.methods.base import Method
from ketchup.models.language_model import LanguageModel
from ketchup.models.teacher import Teacher, here
from ketchup.models.weights import not_finite
from ketchup.phases import Phases
from ketchup.processes import Processes
from ketchup.progress import progress
from ketchup.runs import Run
from ketchup.tasks.base import Task
from ketchup.training.checkpoints import TrainerState, last_state, restore, save, tidy
from ketchup.training.experience import Inputs, Measures, Student, step_trajectories
from ketchup.training.gradient import accumulate
from ketchup.training.metrics import forget_after
from ketchup.training.sampler_gap import say_if_far, with_effective_share
from ketchup.training.selection import Selection
from ketchup.training.train_settings import SCHEDULERS, TrainSettings
from ketchup.training.validation import graded, validate
from ketchup.training.weights import StudentWeights


def train(
    settings: TrainSettings,
    method: Method,
    task: Task,
    weights: StudentWeights,
    teacher: Teacher | None,
    inputs: Inputs,
    validation: Inputs,
    selection: Selection,
    run: Run,
    processes: Processes,
) -> Path:
    """Trains `weights` in place on `inputs`, from the run's last checkpoint if it has one; returns the last checkpoint.

    Raises `RunError` when the loss is no longer a finite number; the checkpoint before that stays.
    """
    weights.begin(processes)
    optimizer = AdamW(
        weights.trained,
        lr=settings.learning_rate,
        betas=(0.9, 0.999),
        weight_decay=settings.weight_decay,
    )
    steps = total_steps(settings, len(inputs), processes.count)
    schedule = get_scheduler(SCHEDULERS[settings.schedule], optimizer, settings.warmup_steps, steps)
    state = _resume(run, weights, optimizer, settings.milestones, processes)
    schedule.last_epoch = state.step  # the optimiser's state brought the learning rate of this step along
    _check_narrowed(weights.ordinary(), settings.save_dtype, run)  # not only when hours of training are to be saved
    phases = Phases()

    def told(engine: str) -> None:
        if processes.main and run.manifest.exists():
            note_circumstances(run.folder, engines={weights.model.name: engine})

    student = Student(weights, task, settings.engine, phases, told, corrected=settings.correct_sampler)

    def validated() -> dict[str, float]:
        found = validate(method, student, teacher, validation, settings.batch_size, settings.seed, processes)
        return {**found, **graded(selection, student, validation, processes)}

    with progress(f"train {method.name}", total=steps, unit="steps", done=state.step) as bar:
        if state.step == 0 and not run.metrics.exists():
            _log({"step": 0, **validated(), "seconds": phases.lap()}, run, processes)
        while state.step < steps:
            mine = inputs.at(processes.share(step_inputs(settings, state.step, len(inputs), processes.count)))
            entry = _optimiser_step(settings, method, student, teacher, optimizer, mine, state.step, processes)
            state.step += 1
            _check_finite(entry, state.step, run)
            if processes.main and not settings.correct_sampler:
                say_if_far(entry, run.name)
            _check_weights(weights, state.step, run, processes)
            schedule.step()
            last = state.step == steps
            if last or state.step % settings.eval_every == 0:
                entry |= validated()
                state.consider(entry, selection)
            _log({"step": state.step, **entry, "seconds": phases.lap()}, run, processes)
            # Each new best is saved at once: by the next save its weights would be gone.
            if last or state.step % settings.save_every == 0 or state.step in (*settings.milestones, state.best_step):
                _save(run, weights, optimizer, state, settings, processes)
            bar.advance(1, note=_note(entry, selection, state))
    return run.checkpoint("last").resolve()


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


def _inputs_per_step(settings: TrainSettings, processes: int) -> int:
    return settings.batch_size * settings.accumulation * processes


@lru_cache(maxsize=2)  # a step may end one epoch and begin the next
def _permutation(seed: int, epoch: int, inputs: int) -> list[int]:
    # A generator of its own for each seed and epoch, so that the order needs no state that a resumed run would lack.
    order: list[int] = torch.randperm(
        inputs, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    ).tolist()
    return order


def _optimiser_step(
    settings: TrainSettings,
    method: Method,
    student: Student,
    teacher: Teacher | None,
    optimizer: Optimizer,
    mine: Inputs,
    step: int,
    processes: Processes,
) -> dict[str, Any]:
    """One update from the whole accumulated batch, and what is worth logging of it: means over all processes."""
    measures = Measures()
    # From the step and the process, and no generator's state: a resumed run draws what the unbroken one would have.
    seed = int(content_hash([settings.seed, step, processes.index])[:8], 16)
    trajectories = step_trajectories(method, student, teacher, mine, seed, processes, measures)
    with student.phases.phase("student"):
        loss = accumulate(
            method,
            student.weights,
            here(teacher),
            trajectories,
            settings.batch_size,
            settings.normalization,
            processes,
            measures,
        )
    with student.phases.phase("optimiser"):
        norm = student.weights.clip_gradients(settings.max_grad_norm or math.inf)
        if loss is None:
            optimizer.zero_grad()  # without gradients, the optimiser moves nothing
        if torch.isfinite(norm):  # else the weights stay as they are, and `_check_finite` ends the run
            optimizer.step()
            student.weights_changed()
        optimizer.zero_grad()
    means = with_effective_share(measures.means(processes))
    entry = {"grad_norm": float(norm), "lr": optimizer.param_groups[0]["lr"], **means}
    return entry if loss is None else {"loss": loss, **entry}


def _resume(
    run: Run, weights: StudentWeights, optimizer: Optimizer, milestones: tuple[int, ...], processes: Processes
) -> TrainerState:
    """Puts the last checkpoint's weights and moments back and forgets what was logged and saved beside it."""
    found = last_state(run)
    state = TrainerState() if found is None else restore(*found, weights, optimizer)

    def forget() -> None:
        forget_after(run, state.step if found else -1)
        tidy(run, found, milestones)

    processes.first(forget)
    return state


def _save(
    run: Run,
    weights: StudentWeights,
    optimizer: Optimizer,
    state: TrainerState,
    settings: TrainSettings,
    processes: Processes,
) -> None:
    state.optimizer = weights.state_of(optimizer)
    ordinary = weights.ordinary()
    _check_narrowed(ordinary, settings.save_dtype, run)
    processes.first(lambda: save(run, weights, ordinary, state, settings.save_dtype, settings.milestones))


def _log(entry: dict[str, Any], run: Run, processes: Processes) -> None:
    if processes.main:
        append_jsonl(run.metrics, entry)
    processes.log(entry, entry["step"])


def _note(entry: dict[str, Any], selection: Selection, state: TrainerState) -> str:
    """What the progress line shows of a step: its return or loss, and what checkpoints are selected by."""
    shown = "return" if "return" in entry else "loss"
    notes = [f"{shown} {entry[shown]:.3f}"] if shown in entry else []
    value = selection.value(entry)
    if value is not None:
        notes.append(f"validation {selection.name} {value:.3f}")
    elif state.best_value is not None:
        notes.append(f"best {selection.name} {state.best_value:.3f}")
    return ", ".join(notes)


def _check_weights(weights: StudentWeights, step: int, run: Run, processes: Processes) -> None:
    """Before anything is drawn from them or saved: a step may be finite and still go too far."""
    strange = not_finite(weights.held())
    if processes.total(torch.tensor(float(strange is not None))):
        raise RunError(
            f"The weights are no longer finite after step {step} of {run} (first {strange or 'in another process'}); "
            "lower --learning-rate and use another --name. The last checkpoint is kept."
        )


def _check_narrowed(ordinary: LanguageModel, dtype: str, run: Run) -> None:
    """The type that weights are saved in may not reach as far as they do."""
    if strange := not_finite(ordinary.network.named_parameters(), getattr(torch, dtype)):
        raise RunError(
            f"--save-dtype {dtype} cannot hold the weights of {run} (first {strange}); use bfloat16 or float32 and "
            "another --name. The last checkpoint is kept."
        )


def _check_finite(entry: dict[str, Any], step: int, run: Run) -> None:
    values = [entry.get("loss", 0.0), entry["grad_norm"]]  # of all processes, so that all of them stop
    if not all(math.isfinite(value) for value in values):
        raise RunError(
            f"The loss became {values[0]} (gradient norm {values[1]}) at step {step} of {run}; lower --learning-rate "
            "and use another --name. The last checkpoint is kept."
        )
