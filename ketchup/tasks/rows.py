"""Rows of a task as examples: from local files, the task's generator or the hub, each row checked before use."""

import json
import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ketchup.errors import DataError, UsageError
from ketchup.tasks.base import Example, Row, Split, Task

DEFAULT_GENERATED = 1000
"""How many rows an endless generator gives when no limit is named."""

_log = logging.getLogger(__name__)


class _PlacedRow(NamedTuple):
    number: int
    """Counted from 0 in the whole split."""
    place: str
    """What an error about the row names, such as `DIR/test.jsonl:3`."""
    row: Row


def load_examples(task: Task, split: Split, data: Path | None = None, limit: int | None = None) -> list[Example]:
    """The first `limit` examples of a split, or all of them.

    They come from `data/{split}.jsonl` (one JSON object a line, with the hub's field names) when `data` is given, else
    from the task's generator (`DEFAULT_GENERATED` rows without a limit), else from the Hugging Face hub. A task whose
    rows have no id gets `{task}-{split}-{row number from 0}`.

    Raises `DataError` naming file and line for the first row that cannot be used, and `UsageError` for a limit below 1.
    Only hub rows without a source, which nobody can mend, are left out instead; a log line counts them.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"the limit on examples is {limit}: it must be at least 1")
    if data is not None:
        rows = _local_rows(split, data)
    elif task.generate is not None:
        rows = _generated_rows(split, task.generate(split))
        limit = limit or DEFAULT_GENERATED
    else:
        rows = _hub_rows(task, split)
    return list(islice(_examples(task, split, rows), limit))


def _examples(task: Task, split: Split, rows: Iterator[_PlacedRow]) -> Iterator[Example]:
    places: dict[str, str] = {}
    for number, place, row in rows:
        example = Example(
            id=_text(row, task.fields["id"], place) if "id" in task.fields else f"{task.name}-{split}-{number}",
            source=_text(row, task.fields["source"], place),
            reference=_text(row, task.fields["reference"], place),
        )
        if not example.source.strip():
            raise DataError(f'{place}: the field "{task.fields["source"]}" is empty; fill it in or delete the row')
        if example.id in places:
            raise DataError(f'{place}: the id "{example.id}" is also at {places[example.id]}; give each row its own')
        places[example.id] = place
        yield example


def _text(row: Row, field: str, place: str) -> str:
    """The string at a dotted field name."""
    value = _field(row, field)
    if value is None:
        raise DataError(f'{place}: the field "{field}" is missing or null; add it to the row')
    if not isinstance(value, str):
        raise DataError(f'{place}: the field "{field}" is not a string but {json.dumps(value)[:40]}; put it in quotes')
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can escape half a character, which no tokenizer takes
        raise DataError(f'{place}: the field "{field}" has half a surrogate pair; write the whole character') from error
    return value


def _field(row: Row, field: str) -> Any:
    """The value at a dotted field name; None where there is none."""
    value: Any = row
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _local_rows(split: Split, data: Path) -> Iterator[_PlacedRow]:
    path = _split_file(split, data)
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}") from error
    # Bytes are split at line feeds only; some rows of GSM8K contain the Unicode line separator.
    with file:
        for number, line in enumerate(file):
            place = f"{path}:{number + 1}"
            yield _PlacedRow(number, place, _parsed(line, place))


def _split_file(split: Split, data: Path) -> Path:
    if not data.is_dir():
        raise DataError(f"{data} is not a folder: --data takes the folder that holds {split}.jsonl")
    path = data / f"{split}.jsonl"
    if not path.is_file():
        found = ", ".join(sorted(file.name for file in data.glob("*.jsonl")))
        raise DataError(f"{path} is missing: add it, or use what the folder has ({found or 'no .jsonl file'})")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty: write one JSON object a line into it")
    return path


def _parsed(line: bytes, place: str) -> Row:
    try:
        row = json.loads(line.rstrip(b"\r\n").decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: this is no JSON object ({error.msg} at column {error.colno}); mend it") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested as deep
        raise DataError(f"{place}: this is no row but oversized JSON ({error}); delete it") from error
    if not isinstance(row, dict):
        raise DataError(f"{place}: this is no JSON object but {json.dumps(row)[:40]}; write one object a line")
    return row


def _generated_rows(split: Split, rows: Iterator[Row]) -> Iterator[_PlacedRow]:
    for number, row in enumerate(rows):
        yield _PlacedRow(number, f"generated {split} row {number}", row)


def _hub_rows(task: Task, split: Split) -> Iterator[_PlacedRow]:
    hub_split = (task.hub_splits or {}).get(split)
    if task.hub is None or hub_split is None:
        raise DataError(
            f"{task.name} has no {split} rows on the hub: pass the paper's with --data DIR, as DIR/{split}.jsonl"
        )
    from datasets.load import load_dataset  # noqa: PLC0415  (it takes seconds, and only this function needs it)

    name = task.hub[0]
    try:
        rows = load_dataset(*task.hub, split=hub_split)
    except Exception as error:  # the hub's client raises too many kinds to list
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(f"{name} cannot be loaded from the hub ({reason}): pass local rows with --data DIR") from error
    without_source = 0
    for number, row in enumerate(rows):
        if not str(_field(row, task.fields["source"]) or "").strip():
            without_source += 1
        else:
            yield _PlacedRow(number, f"{name} {hub_split} row {number}", row)
    if without_source:
        _log.warning("%s %s: %d rows without a source are left out", name, hub_split, without_source)
