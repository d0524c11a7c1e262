"""Outputs of a system on a split: the one file format that `evaluate` writes and that `compare` and `judge` read.

A row of `RUN/predictions/SPLIT.jsonl` is `{"id", "prediction", "tokens", "ended", "return"}`. The last three are
optional: length in tokens, whether the output ended within the limit, and its return (Eq. 10) under a teacher.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ketchup.errors import DataError
from ketchup.files import parse_object
from ketchup.runs import Run

FOLDER = "predictions"


@dataclass(frozen=True)
class Prediction:
    """One output; a `None` is a quantity that is not known."""

    id: str
    text: str
    tokens: int | None = None
    ended: bool | None = None
    mean_return: float | None = None

    def as_row(self) -> dict[str, Any]:
        """The row of the file, without what is not known."""
        optional = {"tokens": self.tokens, "ended": self.ended, "return": self.mean_return}
        return {
            "id": self.id,
            "prediction": self.text,
            **{name: value for name, value in optional.items() if value is not None},
        }


def read_predictions(path: Path) -> list[Prediction]:
    """The outputs of a file, in its order; a `DataError` with file and line for the first that cannot be used."""
    predictions = []
    lines_of_ids: dict[str, int] = {}
    for number, line in enumerate(file_lines(path), start=1):
        place = f"{path}:{number}"
        prediction = _prediction(_row(line, place), place)
        if prediction.id in lines_of_ids:
            first = lines_of_ids[prediction.id]
            raise DataError(f'{place}: the id "{prediction.id}" is also at line {first}; give each row its own.')
        lines_of_ids[prediction.id] = number
        predictions.append(prediction)
    return predictions


def file_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file that must have some, split at line feeds only; a `DataError` where it cannot be."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the name.") from error
    if not content:
        raise DataError(f"{path} is empty; write one output a line into it.")
    lines = []
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            lines.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{number}: byte {error.start + 1} is not UTF-8; save the file as UTF-8.") from error
    return lines


def predictions_file(run_or_file: str, runs_dir: Path, split: str) -> Path:
    """The file of a run's outputs, the run given by its name under `runs_dir`, by its folder or by the file itself."""
    run = Run.find(run_or_file, runs_dir, lambda folder: _outputs(folder, split).is_file())
    if run is not None:
        return _outputs(run.folder, split)
    if os.path.isfile(run_or_file):  # noqa: PTH113  (a path too long for any file is no error there)
        return Path(run_or_file)
    raise DataError(
        f'"{run_or_file}" has no outputs on the {split} split ({_outputs(runs_dir / run_or_file, split)} is missing); '
        f"run `ketchup evaluate {run_or_file} --split {split}` first, or check the name."
    )


def _outputs(run: Path, split: str) -> Path:
    return run / FOLDER / f"{split}.jsonl"


def _row(line: str, place: str) -> Mapping[str, Any]:
    try:
        return parse_object(line.encode())
    except ValueError as error:
        raise DataError(f"{place}: this {error}; mend the line or delete it.") from error


def _prediction(row: Mapping[str, Any], place: str) -> Prediction:
    tokens, ended, mean_return = row.get("tokens"), row.get("ended"), row.get("return")
    if tokens is not None and (not _is_number(tokens) or tokens < 0 or tokens != int(tokens)):
        raise DataError(f'{place}: "tokens" is {json.dumps(tokens)[:40]}; write a whole number, or leave it out.')
    if ended is not None and not isinstance(ended, bool):
        raise DataError(f'{place}: "ended" is {json.dumps(ended)[:40]}; write true or false, or leave it out.')
    if mean_return is not None and not _is_number(mean_return):
        raise DataError(f'{place}: "return" is {json.dumps(mean_return)[:40]}; write a number, or leave it out.')
    return Prediction(
        id=_text(row, "id", place),
        text=_text(row, "prediction", place),
        tokens=None if tokens is None else int(tokens),
        ended=ended,
        mean_return=None if mean_return is None else float(mean_return),
    )


def _text(row: Mapping[str, Any], field: str, place: str) -> str:
    if field not in row:
        raise DataError(f'{place}: the field "{field}" is missing; add it to the row.')
    value = row[field]
    if not isinstance(value, str):
        raise DataError(
            f'{place}: the field "{field}" is not a string but {json.dumps(value)[:40]}; put it in quotes, and write '
            '"" for an empty output'
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can escape half a character, which no metric takes
        raise DataError(
            f'{place}: the field "{field}" has half a surrogate pair; write the whole character.'
        ) from error
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
