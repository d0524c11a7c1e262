"""Outputs of a system on a split: the one file format that `evaluate` writes and that `compare` and `judge` read.

A row of `RUN/predictions/SPLIT.jsonl` is `{"id", "prediction", "tokens", "ended", "return"}`. The last three are
optional: length in tokens, whether the output ended within the limit, and its return (Eq. 10) under a teacher.
"""

import json
import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ketchup.errors import DataError
from ketchup.runs import Run
from ketchup.user_files import is_json_lines, json_rows, text_field, text_lines

_log = logging.getLogger(__name__)


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


def read_predictions(path: Path, lines: Iterable[str] | None = None) -> list[Prediction]:
    """The outputs of a file of JSON lines, in its order, from its `lines` if they have been read.

    Raises `DataError` with file and line for the first that cannot be used.
    """
    predictions = []
    lines_of_ids: dict[str, int] = {}
    for number, place, row in json_rows(path, lines):
        prediction = _prediction(row, place)
        if prediction.id in lines_of_ids:
            first = lines_of_ids[prediction.id]
            raise DataError(f'{place}: the id "{prediction.id}" is also at line {first}; give each row its own.')
        lines_of_ids[prediction.id] = number + 1
        predictions.append(prediction)
    return predictions


def read_outputs(path: Path, ids: Sequence[str]) -> list[Prediction]:
    """Outputs of any system for the inputs `ids`: JSON lines, or plain lines in the order of the inputs.

    Plain lines must be as many as the inputs; blank ones beyond them are none. JSON lines numbered from 1 to n, which
    no input's id is, were plain lines once (see `find_inputs`) and are in the order of the inputs too.
    """
    lines = list(text_lines(path))
    if is_json_lines(path, lines):
        predictions = read_predictions(path, lines)
        by_number = {str(number): id for number, id in enumerate(ids, start=1)}
        if {prediction.id for prediction in predictions} == by_number.keys() and by_number.keys().isdisjoint(ids):
            _log.warning("%s: its ids are 1 to %d, which no row has; they are taken for row numbers.", path, len(ids))
            return [replace(prediction, id=by_number[prediction.id]) for prediction in predictions]
        return predictions
    while len(lines) > len(ids) and not lines[-1].strip():
        lines.pop()
    if len(lines) != len(ids):
        raise DataError(
            f"{path} has {len(lines):,} lines for {len(ids):,} inputs; write one line per input, or JSON lines with id "
            "and prediction (inputs: see --task, --data, --references, --split and --limit)."
        )
    return [Prediction(id, line) for id, line in zip(ids, lines, strict=True)]


def predictions_file(run_or_file: str, runs_dir: Path, split: str) -> Path:
    """The file of a run's outputs, the run given by its name under `runs_dir`, by its folder or by the file itself."""
    run = Run.find(run_or_file, runs_dir, lambda run: run.predictions(split).is_file())
    if run is not None:
        return run.predictions(split)
    if os.path.isfile(run_or_file):  # noqa: PTH113  (a path too long for any file is no error there)
        return Path(run_or_file)
    expected = Run(runs_dir / run_or_file).predictions(split)
    raise DataError(
        f'"{run_or_file}" has no outputs on the {split} split ({expected} is missing); '
        f"run `ketchup evaluate {run_or_file} --split {split}` first, or check the name."
    )


def _prediction(row: Mapping[str, Any], place: str) -> Prediction:
    tokens, ended, mean_return = row.get("tokens"), row.get("ended"), row.get("return")
    if tokens is not None and (not _is_number(tokens) or tokens < 0 or tokens != int(tokens)):
        raise DataError(f'{place}: "tokens" is {json.dumps(tokens)[:40]}; write a whole number, or leave it out.')
    if ended is not None and not isinstance(ended, bool):
        raise DataError(f'{place}: "ended" is {json.dumps(ended)[:40]}; write true or false, or leave it out.')
    if mean_return is not None and not _is_number(mean_return):
        raise DataError(f'{place}: "return" is {json.dumps(mean_return)[:40]}; write a number, or leave it out.')
    return Prediction(
        id=text_field(row, "id", place),
        text=text_field(row, "prediction", place),
        tokens=None if tokens is None else int(tokens),
        ended=ended,
        mean_return=None if mean_return is None else float(mean_return),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
