"""The choice of a learning rate: the one whose training validated best."""

import math
from collections.abc import Mapping
from pathlib import Path

from ketchup.errors import RunError
from ketchup.files import atomic_write_text
from ketchup.runs import Run
from ketchup.training.metrics import VALIDATION, read_metrics


def choose_rate(trials: Mapping[float, Path], place: Path) -> float:
    """The rate whose run has the best validation: the highest return, or the lowest loss of a method that has one.

    Written to `place`. A run without a finite validation loses; a `RunError` where all do. Of equals the smallest rate
    is taken.
    """
    found = {rate: _best(run) for rate, run in sorted(trials.items())}
    if not any(math.isfinite(value) for value in found.values()):
        raise RunError(f"None of {', '.join(map(str, trials.values()))} has a finite validation; try smaller rates.")
    chosen = max(found, key=lambda rate: found[rate])
    atomic_write_text(place, f"{chosen:g}\n")
    return chosen


def chosen_rate(place: Path) -> str:
    """The rate that was chosen, as it is written on a command line; a `RunError` where none is yet."""
    try:
        return place.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise RunError(f"{place} has no learning rate yet ({error.strerror}); run {place.stem} first.") from error


def _best(run: Path) -> float:
    """The best validation of a run, the higher the better."""
    rows = read_metrics(Run(run))
    losses = [-row[f"{VALIDATION}loss"] for row in rows if f"{VALIDATION}loss" in row]
    values = losses or [row[f"{VALIDATION}return"] for row in rows if f"{VALIDATION}return" in row]
    return max((value for value in values if math.isfinite(value)), default=-math.inf)
