"""What a system wrote for each input: the one file that `evaluate` writes and `compare` and `judge` read.

    RUN/predictions/<split>.jsonl    {"id": "...", "prediction": "...", "tokens": 17, "ended": true, "return": -8.25}

The last three are optional, so that outputs of any system can be written by hand. Rows keep the file's order.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ketchup.errors import DataError


@dataclass(frozen=True)
class Prediction:
    """One row: the `text` written for input `id`.

    `tokens` counts the model's tokens, eos and inserted ones included; `ended` is false where the output was cut at the
    limit; `mean_return` is the return (Eq. 10) of this output under the teacher, in nats, raw logits. Each is `None`
    where the file does not say.
    """

    id: str
    text: str
    tokens: int | None = None
    ended: bool | None = None
    mean_return: float | None = None

    def as_row(self) -> dict[str, Any]:
        """The row as it stands in the file; what is `None` is left out."""
        row = {
            "id": self.id,
            "prediction": self.text,
            "tokens": self.tokens,
            "ended": self.ended,
            "return": self.mean_return,
        }
        return {name: value for name, value in row.items() if value is not None}


def predictions_path(run: Path, split: str) -> Path:
    """Where a run keeps its predictions of a split."""
    return run / "predictions" / f"{split}.jsonl"


def predictions_file(run_or_file: str, runs_dir: Path, split: str) -> Path:
    """The predictions of a run (by its name under `runs_dir`, or its folder), or the file itself.

    Raises `DataError` where there are none.
    """
    given = Path(run_or_file).expanduser()
    if given.is_file():
        return given
    paths = [predictions_path(folder, split) for folder in (runs_dir / run_or_file, given)]
    for path in paths:
        if path.is_file():
            return path
    raise DataError(
        f"{run_or_file} has no predictions of the {split} split ({paths[0]} is missing); run "
        f"`ketchup evaluate {run_or_file} --split {split}` first, or name a file of predictions."
    )


def read_predictions(path: Path) -> list[Prediction]:
    """All rows of a file of predictions, in order; `DataError` with file and line for the first that cannot be used."""
    lines = read_lines(path)
    places: dict[str, int] = {}
    predictions = []
    for number, line in enumerate(lines, start=1):
        prediction = _prediction(_row(line, f"{path}:{number}"), f"{path}:{number}")
        if prediction.id in places:
            raise DataError(
                f'{path}:{number}: the id "{prediction.id}" is also in line {places[prediction.id]}; '
                "keep one row for each id."
            )
        places[prediction.id] = number
        predictions.append(prediction)
    return predictions


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, split at line feeds only; `DataError` for an unreadable or empty file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the name.") from error
    if not content.strip():
        raise DataError(f"{path} is empty; write one output a line into it.")
    lines = content.removesuffix(b"\n").split(b"\n")
    return [_decoded(line.removesuffix(b"\r"), f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def _decoded(line: bytes, place: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: byte {error.start + 1} is not UTF-8; save the file as UTF-8.") from error


def _row(line: str, place: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: this is no JSON object ({error.msg} at column {error.colno}); mend it.") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested as deep
        raise DataError(f"{place}: this is no row but oversized JSON ({error}); delete it.") from error
    if not isinstance(row, dict):
        raise DataError(f'{place}: this is no JSON object; write {{"id": ..., "prediction": ...}}.')
    return row


def _prediction(row: Mapping[str, Any], place: str) -> Prediction:
    tokens, ended, mean_return = row.get("tokens"), row.get("ended"), row.get("return")
    if tokens is not None and (not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0):
        raise DataError(f'{place}: "tokens" is {_shown(tokens)}; give the number of tokens or leave it out.')
    if ended is not None and not isinstance(ended, bool):
        raise DataError(f'{place}: "ended" is {_shown(ended)}; give true or false or leave it out.')
    if mean_return is not None and not _is_number(mean_return):
        raise DataError(f'{place}: "return" is {_shown(mean_return)}; give a finite number or leave it out.')
    return Prediction(
        id=_text(row, "id", place),
        text=_text(row, "prediction", place),
        tokens=tokens,
        ended=ended,
        mean_return=None if mean_return is None else float(mean_return),
    )


def _text(row: Mapping[str, Any], field: str, place: str) -> str:
    if field not in row:
        raise DataError(f'{place}: the field "{field}" is missing; add it to the row.')
    value = row[field]
    if not isinstance(value, str):
        fix = 'an output without words is ""' if field == "prediction" else "put it in quotes"
        raise DataError(f'{place}: the field "{field}" is {_shown(value)} and not a string; {fix}.')
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can escape half a character
        raise DataError(
            f'{place}: the field "{field}" has half a surrogate pair; write the whole character.'
        ) from error
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: object) -> str:
    return json.dumps(value)[:40]
