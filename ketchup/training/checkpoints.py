"""Checkpoints: ordinary `save_pretrained` folders, with what is needed to go on beside the weights of the last one.

    RUN/checkpoints/step-000200/    model, tokenizer, SHA256SUMS, trainer.pt (the last one only)
    RUN/last -> checkpoints/step-000200        RUN/best -> checkpoints/step-000150

A folder appears whole, by a rename, and the links change after it: a kill at any moment leaves a run to resume from.
What comes back from a folder is checked against the hashes in it.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from ketchup.errors import KetchupError, RunError, first_line
from ketchup.files import atomic_folder, atomic_write_json
from ketchup.hashes import check_sums, write_sums
from ketchup.models.folder import check_files
from ketchup.models.language_model import LanguageModel
from ketchup.runs import Run
from ketchup.training.selection import Selection
from ketchup.training.weights import StudentWeights

TRAINER = "trainer.pt"


@dataclass
class TrainerState:
    """What training needs beside float32 weights: how far it is, and the optimiser's moments."""

    step: int = 0
    best_step: int | None = None
    best_value: float | None = None
    optimizer: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    """Those trained, in float32; only where the model folder does not hold them: in a narrower type, or merged."""

    def consider(self, entry: Mapping[str, float], selection: Selection) -> None:
        """Takes this step for the best if it is."""
        value = selection.value(entry)
        if value is not None and selection.is_better(value, self.best_value):
            self.best_step, self.best_value = self.step, value


def last_state(run: Run) -> tuple[Path, TrainerState] | None:
    """The newest whole checkpoint of a run and its state, or `None` for a run that has none."""
    folder = _last(run)
    if folder is None:
        return None
    check_sums(folder)
    try:
        content = torch.load(folder / TRAINER, weights_only=True, map_location="cpu")
        return folder, TrainerState(**content)
    except Exception as error:  # unpickling raises too many kinds to list
        raise RunError(
            f"{folder / TRAINER} cannot be read ({first_line(error)}); put a copy of it back, or delete {run} and "
            "start again."
        ) from error


def restore(folder: Path, state: TrainerState, weights: StudentWeights, optimizer: Optimizer) -> TrainerState:
    """Puts a checkpoint's weights and moments back in place; returns its state."""
    check_files(folder)
    try:
        weights.put_back(state.weights or weights.read(folder), optimizer, state.optimizer)
    except KetchupError:
        raise
    except Exception as error:  # safetensors, transformers and torch raise too many kinds to list
        raise RunError(
            f"{folder} is no checkpoint of this run ({first_line(error)}); put a copy of it back or use another --name."
        ) from error
    return state


def save(
    run: Run,
    weights: StudentWeights,
    ordinary: LanguageModel,
    state: TrainerState,
    dtype: str,
    milestones: tuple[int, ...],
) -> Path:
    """Writes a checkpoint, points `last` (and before it `best`, if this step is it) to it, and removes idle ones.

    `ordinary` is what `weights` are as one model.
    """
    folder = run.step(state.step)
    saved = {name: value.cpu() for name, value in ordinary.network.state_dict().items()}
    kept = replace(state, weights=weights.beside(saved, dtype))
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():  # written before a kill, and never linked to
        shutil.rmtree(folder)
    with atomic_folder(folder) as temporary:
        _save_model(ordinary, temporary, saved, getattr(torch, dtype))
        torch.save(vars(kept), temporary / TRAINER)
        atomic_write_json(temporary / "step.json", {"step": state.step, "best_step": state.best_step})
        write_sums(temporary)
    # `best` first: a run goes on from `last`, and would not come past this step again to mend the other link.
    if state.best_step == state.step:
        _point(run.checkpoint("best"), folder)
    _point(run.checkpoint("last"), folder)
    _prune(run, milestones)
    return folder


def _save_model(model: LanguageModel, folder: Path, weights: dict[str, Any], dtype: torch.dtype) -> None:
    network = model.network
    # A tied weight has several names: narrowed once, it is recognised as one tensor and written once.
    narrow = {value.data_ptr(): value.to(dtype) for value in weights.values() if value.is_floating_point()}
    narrowed = {name: narrow.get(value.data_ptr(), value) for name, value in weights.items()}
    before = network.config.dtype
    network.config.dtype = dtype
    network.save_pretrained(folder, state_dict=narrowed)
    network.config.dtype = before
    model.tokenizer.save_pretrained(folder)


def _point(link: Path, folder: Path) -> None:
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)  # a kill may have left it
    temporary.symlink_to(Path(folder.parent.name) / folder.name)
    os.replace(temporary, link)  # noqa: PTH105


def tidy(run: Run, found: tuple[Path, TrainerState] | None, milestones: tuple[int, ...]) -> None:
    """Mends what a kill left half done, before a run goes on from the checkpoint that was `found`."""
    if found:
        folder, state = found
        if state.best_step == state.step:
            _point(run.checkpoint("best"), folder)
        _point(run.checkpoint("last"), folder)
    _prune(run, milestones)


def _last(run: Run) -> Path | None:
    """The folder to go on from: where `last` leads, or without that link the newest one, as each is whole."""
    link = run.checkpoint("last")
    if link.is_dir() and not link.is_symlink():
        raise RunError(
            f"{link} is a folder where a link should be, as the run was copied without its links; copy it with cp -a, "
            f"or make {link} a link to its folder in {run.checkpoints}."
        )
    if link.exists():
        return link.resolve()
    newest = max((file.parent for file in run.checkpoints.glob(f"step-*/{TRAINER}")), default=None)
    if link.is_symlink() and newest is None:
        raise RunError(f"{link} leads to a folder that is gone; put it back, or delete {run} and start again.")
    return newest


def _prune(run: Run, milestones: tuple[int, ...]) -> None:
    """Leaves the last, the best and the milestones' checkpoints; what goes was linked to earlier, or never yet."""
    last = run.checkpoint("last").resolve()
    needed = {last, run.checkpoint("best").resolve(), *(run.step(step).resolve() for step in milestones)}
    for folder in run.checkpoints.glob("*"):
        if folder.resolve() not in needed:
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.resolve() != last:
            (folder / TRAINER).unlink(missing_ok=True)
