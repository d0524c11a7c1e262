"""How well a run validated at its best: what a learning rate is chosen by, and the best of several methods."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ketchup.manifests import read_manifest
from ketchup.runs import Run
from ketchup.training.metrics import VALIDATION, read_metrics


def best_validation(run: Run) -> float | None:
    """The best validation of a run by what it selects its checkpoint by; `None` where no validation is finite.

    The higher the better: a quantity that is better where it is lower is turned. A run that says nothing else is
    selected by minus its loss where its method has one, else by its return.
    """
    return best_of(run, read_metrics(run))


def best_of(run: Run, rows: Sequence[Mapping[str, Any]]) -> float | None:
    """The same of a run whose log has these rows."""
    settings = read_manifest(run.folder)["settings"] if run.has_manifest() else {}
    values = _values(rows, settings)
    return max((value for value in values if math.isfinite(value)), default=None)


def _values(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> list[float]:
    if settings.get("select"):
        sign = 1 if settings["select_higher_is_better"] else -1
        name = f"{VALIDATION}{settings['select']}"
        return [sign * row[name] for row in rows if name in row]
    losses = [-row[f"{VALIDATION}loss"] for row in rows if f"{VALIDATION}loss" in row]
    return losses or [row[f"{VALIDATION}return"] for row in rows if f"{VALIDATION}return" in row]
