"""Outputs beside their references, item by item."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ketchup.errors import DataError, UsageError
from ketchup_eval.predictions import Prediction, file_lines, read_predictions

SHOWN = 3
"""Ids named in an error."""


@dataclass(frozen=True)
class Outputs:
    """A system's outputs and the references, in one order."""

    predictions: list[Prediction]
    references: list[str]

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def ids(self) -> list[str]:
        """Ids of the items."""
        return [prediction.id for prediction in self.predictions]

    @property
    def texts(self) -> list[str]:
        """What the system wrote."""
        return [prediction.text for prediction in self.predictions]


def outputs_of(predictions: Sequence[Prediction], references: Mapping[str, str], place: str) -> Outputs:
    """The outputs in the order of the references; a `DataError` with counts unless the ids are the same."""
    by_id = {prediction.id: prediction for prediction in predictions}
    check_same_ids(by_id, references, place, "the data")
    return Outputs([by_id[name] for name in references], list(references.values()))


def check_same_ids(ours: Collection[str], theirs: Collection[str], place: str, other: str) -> None:
    """A `DataError` that counts and names the ids that only one of two has."""
    missing = [name for name in theirs if name not in ours]
    extra = [name for name in ours if name not in theirs]
    if missing or extra:
        raise DataError(
            f"{place}: ids do not match those of {other}: {_counted(missing, 'missing')}, {_counted(extra, 'extra')}; "
            "use outputs of the same rows (see --task, --data, --split and --limit)."
        )


def read_outputs_file(path: Path) -> list[Prediction]:
    """Outputs of any system: JSON lines where the name ends in .jsonl, else a line each, numbered from 1."""
    if path.suffix == ".jsonl":
        return read_predictions(path)
    return [Prediction(str(number), line) for number, line in enumerate(file_lines(path), start=1)]


def read_references(path: Path, predictions: Path, count: int) -> dict[str, str]:
    """References in plain lines, numbered as plain outputs are."""
    if predictions.suffix == ".jsonl":
        raise UsageError(f"--references goes with outputs in plain lines; {predictions} has ids, so leave it out.")
    lines = file_lines(path)
    if len(lines) != count:
        raise DataError(
            f"{predictions} has {count} lines and {path} has {len(lines)}; write one line per item in both."
        )
    return {str(number): line for number, line in enumerate(lines, start=1)}


def _counted(ids: Sequence[str], what: str) -> str:
    if not ids:
        return f"0 {what}"
    names = ", ".join(f'"{name}"' for name in ids[:SHOWN])
    return f"{len(ids):,} {what} ({names}{', ...' if len(ids) > SHOWN else ''})"
