"""The log of a training run: `metrics.jsonl` has a row for each optimiser step, and one for step 0, before all."""

import logging
from collections.abc import Sequence
from typing import Any

from ketchup.errors import RunError
from ketchup.files import read_jsonl, write_jsonl
from ketchup.kinds import misfit
from ketchup.runs import Run

VALIDATION = "validation_"
"""What the names of validation quantities begin with."""
OWN_SELECTIONS = ("return", "loss")
"""What a best checkpoint is chosen by without a metric of the task."""

_log = logging.getLogger(__name__)


def read_metrics(run: Run, last: int | None = None) -> list[dict[str, Any]]:
    """The rows up to step `last`, by default all; a warning names the steps whose rows are lost.

    Raises `RunError` with the line for a row that is damaged or of other kinds.
    """
    path = run.metrics
    rows, torn = read_jsonl(path)
    for number, row in enumerate(rows, start=1):
        validated = dict.fromkeys((name for name in row if name.startswith(VALIDATION)), float)
        if wrong := misfit(row, {"step": int, **validated}):
            raise RunError(f"{path} line {number} is no row of a step, as {wrong}; remove that line and run again.")
    if torn:
        _log.warning("%s: a torn last line is dropped.", path)
    if last is None:
        last = max([_saved_step(run), *(row["step"] for row in rows)])
    lost = sorted(set(range(last + 1)) - {row["step"] for row in rows})
    if lost:
        _log.warning("%s: the rows of step %s are lost; nothing else of the run depends on them.", path, _ranges(lost))
    return [row for row in rows if row["step"] <= last]


def forget_after(run: Run, last: int) -> None:
    """Leaves the rows up to step `last`: what came after it is to be done again."""
    path = run.metrics
    kept = read_metrics(run, last)
    if not kept:
        path.unlink(missing_ok=True)
    elif len(kept) < len(read_jsonl(path)[0]):
        write_jsonl(path, kept)


def _saved_step(run: Run) -> int:
    """The step of the last checkpoint, whose row was written before it; -1 without one."""
    name = run.checkpoint("last").resolve().name.removeprefix("step-")
    return int(name) if name.isdecimal() else -1


def _ranges(steps: Sequence[int]) -> str:
    """`3, 5-9` for the steps 3, 5, 6, 7, 8 and 9."""
    starts = [step for step in steps if step - 1 not in set(steps)]
    ends = [step for step in steps if step + 1 not in set(steps)]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
