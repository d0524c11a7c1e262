"""The choice of a learning rate: the one whose training validated best."""

from collections.abc import Mapping
from pathlib import Path

from ketchup.errors import RunError
from ketchup.files import atomic_write_text
from ketchup.runs import Run
from ketchup_eval.study.validations import best_validation


def choose_rate(trials: Mapping[float, Path], place: Path) -> float:
    """The rate whose run has the best validation, by what its checkpoint is selected by.

    Written to `place`. A run without a finite validation loses; a `RunError` where all do. Of equals the smallest rate
    is taken.
    """
    tried = {rate: best_validation(Run(run)) for rate, run in sorted(trials.items())}
    found = {rate: value for rate, value in tried.items() if value is not None}
    if not found:
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
