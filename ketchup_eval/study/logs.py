"""What a study takes from the log of a training run, kept beside its stamps: a long log is read once, not each time."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ketchup.errors import RunError
from ketchup.files import read_kept_json, write_kept_json
from ketchup.kinds import misfit
from ketchup.runs import Run
from ketchup.training.metrics import VALIDATION, read_metrics
from ketchup_eval.study.stamps import FOLDER
from ketchup_eval.study.validations import best_of

KINDS = {"size": int, "changed": int, "log": dict}


def training_log(run: Run, folder: Path) -> dict[str, Any]:
    """Of a training run of the study in `folder`: its steps, its validations, the best of them, and seconds by phase.

    What is kept holds as long as the log has its size and its time of change. Raises `RunError` for a damaged log.
    """
    place = folder / FOLDER / "logs" / f"{run.name}.json"
    state = run.metrics.stat()
    known = {"size": state.st_size, "changed": state.st_mtime_ns}
    with suppress(RunError):  # it is not there, or damaged: then the log itself is read
        kept = read_kept_json(place, "")
        if misfit(kept, KINDS) is None and {key: kept[key] for key in known} == known:
            found: dict[str, Any] = kept["log"]
            return found
    found = _read(run)
    write_kept_json(place, {**known, "log": found})
    return found


def _read(run: Run) -> dict[str, Any]:
    rows = read_metrics(run)
    seconds: dict[str, float] = {}
    for row in rows:
        for phase, spent in row.get("seconds", {}).items():
            seconds[phase] = seconds.get(phase, 0.0) + spent
    return {
        "steps": rows[-1]["step"] if rows else 0,
        "curve": [validated for row in rows if len(validated := _validation(row)) > 1],
        "best_validation": best_of(run, rows),
        "seconds": seconds,
    }


def _validation(row: Mapping[str, Any]) -> dict[str, Any]:
    """The step of a row and what was validated at it, often nothing."""
    found = {name.removeprefix(VALIDATION): value for name, value in row.items() if name.startswith(VALIDATION)}
    return {"step": row["step"], **found}
