"""Rows of a task as examples: from local files, the task's generator or the hub, each row checked before use."""

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from ketchup import checks
from ketchup.errors import DataError
from ketchup.inputs import PlacedRow, Row, field_of, json_rows, text_field
from ketchup.tasks.base import Example, Split, Task

DEFAULT_GENERATED = 1000
"""How many rows an endless generator gives when no limit is named."""

_log = logging.getLogger(__name__)


def load_examples(task: Task, split: Split, data: Path | None = None, limit: int | None = None) -> list[Example]:
    """The first `limit` examples of a split, or all of them.

    They come from `data/{split}.jsonl` (one JSON object a line, with the hub's field names) when `data` is given, else
    from the task's generator (`DEFAULT_GENERATED` rows without a limit), else from the Hugging Face hub. A row without
    an `id`, of a task whose rows need none, is called `{task}-{split}-{row number from 0}`.

    Raises `DataError` naming file and line for the first row that cannot be used, and `UsageError` for a limit below 1.
    Only hub rows without a source, which nobody can mend, are left out instead; a log line counts them.
    """
    checks.whole("--limit", limit)
    if data is not None:
        rows = json_rows(_split_file(split, data))
    elif task.generate is not None:
        rows = _generated_rows(split, task.generate(split))
        limit = limit or DEFAULT_GENERATED
    else:
        rows = _hub_rows(task, split)
    return list(islice(_unlike(_example(task, split, row) for row in rows), limit))


def partial_examples(
    task: Task, split: Split, rows: Iterable[PlacedRow], needed: Literal["source", "reference"]
) -> Iterator[Example]:
    """Examples of rows that must have the `needed` part and may lack all others, which are then empty or numbered.

    A part stands under its own name (`id`, `source`, `reference`) or under that which it has in the task's rows.
    """

    def part(placed: PlacedRow, name: str) -> str | None:
        own = task.fields.get(name, name)
        field = own if name not in placed.row and field_of(placed.row, own) is not None else name
        if name != needed and field_of(placed.row, field) is None:
            return None
        return text_field(placed.row, field, placed.place)

    return _unlike(
        (
            row.place,
            Example(
                id=part(row, "id") or numbered_id(task, split, row.number),
                source=part(row, "source") or "",
                reference=part(row, "reference") or "",
            ),
        )
        for row in rows
    )


def numbered_id(task: Task, split: Split, number: int) -> str:
    """What a row without an id is called, counted from 0."""
    return f"{task.name}-{split}-{number}"


def _example(task: Task, split: Split, placed: PlacedRow) -> tuple[str, Example]:
    """A row's place and example."""
    number, place, row = placed
    has_id = "id" in task.fields or "id" in row
    example = Example(
        id=text_field(row, task.fields.get("id", "id"), place) if has_id else numbered_id(task, split, number),
        source=text_field(row, task.fields["source"], place),
        reference=text_field(row, task.fields["reference"], place),
    )
    if not example.source.strip():
        raise DataError(f'{place}: the field "{task.fields["source"]}" is empty; fill it in or delete the row.')
    return place, example


def _unlike(placed: Iterable[tuple[str, Example]]) -> Iterator[Example]:
    """The examples, each with an id of its own."""
    places: dict[str, str] = {}
    for place, example in placed:
        if example.id in places:
            raise DataError(f'{place}: the id "{example.id}" is also at {places[example.id]}; give each row its own.')
        places[example.id] = place
        yield example


def _split_file(split: Split, data: Path) -> Path:
    if not data.is_dir():
        raise DataError(f"{data} is not a folder: --data takes the folder that holds {split}.jsonl")
    path = data / f"{split}.jsonl"
    if not path.is_file():
        found = ", ".join(sorted(file.name for file in data.glob("*.jsonl")))
        raise DataError(f"{path} is missing: add it, or use what the folder has ({found or 'no .jsonl file'})")
    return path


def _generated_rows(split: Split, rows: Iterator[Row]) -> Iterator[PlacedRow]:
    for number, row in enumerate(rows):
        yield PlacedRow(number, f"generated {split} row {number}", row)


def _hub_rows(task: Task, split: Split) -> Iterator[PlacedRow]:
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
        if not str(field_of(row, task.fields["source"]) or "").strip():
            without_source += 1
        else:
            yield PlacedRow(number, f"{name} {hub_split} row {number}", row)
    if without_source:
        _log.warning("%s %s: %d rows without a source are left out", name, hub_split, without_source)
