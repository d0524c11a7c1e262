"""Rows of a task as inputs: from local files, the task's generator or the hub, each row checked before use."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from string import Formatter
from typing import Literal

from ketchup import checks
from ketchup.choices import Split
from ketchup.errors import DataError
from ketchup.tasks.base import Input, Task
from ketchup.tasks.files import rows_of_file
from ketchup.user_files import PlacedRow, Row, field_of, json_rows, shown, text_field, text_of

DEFAULT_GENERATED = 1000
"""How many rows an endless generator gives when no limit is named."""

_log = logging.getLogger(__name__)


def load_inputs(task: Task, split: Split, data: Path | None = None, limit: int | None = None) -> list[Input]:
    """The first `limit` inputs of a split, or all of them.

    They come from `data/{split}.jsonl` (one JSON object a line, with the hub's field names) when `data` is given, else
    from the task's generator (`DEFAULT_GENERATED` rows without a limit), its files or the hub. A row without an `id`,
    of a task whose rows need none, is called `{task}-{split}-{row number from 0}`.

    Raises `DataError` naming file and line for the first row that cannot be used, and `UsageError` for a limit below 1.
    Only hub rows without a source, which nobody can mend, are left out instead; a log line counts them.
    """
    checks.whole("--limit", limit)
    if data is not None:
        rows = json_rows(_split_file(split, data))
    elif task.generate is not None:
        rows = _generated_rows(split, task.generate(split))
        limit = limit or DEFAULT_GENERATED
    elif task.files is not None:
        if split not in task.files:
            raise task.error("rows.files", f"has no {split} rows; add {split} = FILE, or pass --data DIR.")
        rows = rows_of_file(task.files[split])
        if task.files[split].suffix.lower() == ".parquet":
            rows = _with_text_ids(task, rows)
    else:
        rows = _with_text_ids(task, _hub_rows(task, split))
    return list(islice(_unlike(_input(task, split, row) for row in rows), limit))


def partial_inputs(
    task: Task, split: Split, rows: Iterable[PlacedRow], needed: Literal["source", "reference"]
) -> Iterator[Input]:
    """Examples of rows that must have the `needed` part and may lack all others, which are then empty or numbered.

    A part stands under its own name (`id`, `source`, `reference`) or under that which it has in the task's rows.
    """

    def part(placed: PlacedRow, name: str) -> str | None:
        own = task.fields.get(name, name)
        if not isinstance(own, str):
            own = name
        field = own if name not in placed.row and field_of(placed.row, own) is not None else name
        if name != needed and field_of(placed.row, field) is None:
            return None
        return text_field(placed.row, field, placed.place)

    return _unlike(
        (
            row.place,
            Input(
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


def _input(task: Task, split: Split, placed: PlacedRow) -> tuple[str, Input]:
    """A row's place and input."""
    number, place, row = placed
    name = str(task.fields.get("id", "id"))
    has_id = "id" in task.fields or "id" in row
    reference, *more = references_of(task, row, place)
    one = Input(
        id=text_field(row, name, place) if has_id else numbered_id(task, split, number),
        source=source_of(task, row, place),
        reference=reference,
        more_references=tuple(more),
    )
    if task.has_source and not one.source.strip():
        raise DataError(f"{place}: {_named(task.fields['source'])} empty; fill it in or delete the row.")
    return place, one


def _with_text_ids(task: Task, rows: Iterable[PlacedRow]) -> Iterator[PlacedRow]:
    """Parquet and the hub have whole numbers for ids, which are their digits; JSON lines put them in quotes."""
    name = str(task.fields.get("id", "id"))
    for number, place, row in rows:
        value = row.get(name)
        yield PlacedRow(number, place, {**row, name: str(value)} if type(value) is int else row)


def source_of(task: Task, row: Row, place: str) -> str:
    """The source of a row: a field, or pieces of text that are not empty with a blank line between; `""` without."""
    field = task.fields.get("source", ())
    if isinstance(field, str):
        return text_field(row, field, place)
    pieces = (_filled(piece, row, place) for piece in field)
    return "\n\n".join(piece for piece in pieces if piece)


def references_of(task: Task, row: Row, place: str) -> list[str]:
    """The references of a row; a `DataError` where there is none. An empty one counts only where it is the only one."""
    if "reference" in task.fields:
        return [text_field(row, str(task.fields["reference"]), place)]
    field = task.fields["references"]
    if isinstance(field, str):
        values = field_of(row, field)
        if not isinstance(values, list):
            raise DataError(f'{place}: the field "{field}" is no list of references but {shown(values)}; make it one.')
        found = [text_of(value, field, place) for value in values]
    else:
        found = [text_field(row, name, place) for name in field if field_of(row, name) is not None]
    kept = [text for text in found if text.strip()]
    if not kept:
        raise DataError(f"{place}: {_named(field)} empty; give the row a reference or delete it.")
    return kept


def _filled(piece: str, row: Row, place: str) -> str:
    """A piece of text with its fields; `""` where all of them are empty."""
    values = {name: _value(row, name, place) for name in names_in(piece)}
    if not any(value.strip() for value in values.values()):
        return ""
    return "".join(text + (values[name] if name is not None else "") for text, name, _, _ in Formatter().parse(piece))


def _value(row: Row, field: str, place: str) -> str:
    """A field that may be null but not missing, which would be a wrong name."""
    if _is_there(row, field) and field_of(row, field) is None:
        return ""
    return text_field(row, field, place)


def _is_there(row: Row, field: str) -> bool:
    """Whether a row has a dotted field, be it null."""
    *outer, last = field.split(".")
    holder = field_of(row, ".".join(outer)) if outer else row
    return isinstance(holder, Mapping) and last in holder


def _named(field: str | tuple[str, ...]) -> str:
    return f'the field "{field}" is' if isinstance(field, str) else f"{', '.join(map(repr, field))} are all"


def _unlike(placed: Iterable[tuple[str, Input]]) -> Iterator[Input]:
    """The inputs, each with an id of its own."""
    places: dict[str, str] = {}
    for place, one in placed:
        if one.id in places:
            raise DataError(f'{place}: the id "{one.id}" is also at {places[one.id]}; give each row its own.')
        places[one.id] = place
        yield one


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
    hub_split = task.hub.splits.get(split) if task.hub else None
    if task.hub is None or hub_split is None:
        raise DataError(
            f"{task.name} has no {split} rows on the hub: pass the paper's with --data DIR, as DIR/{split}.jsonl"
        )
    from datasets.load import load_dataset  # noqa: PLC0415  (it takes seconds, and only this function needs it)

    name = task.hub.name
    revision = {"revision": task.hub.revision} if task.hub.revision else {}
    try:
        rows = load_dataset(name, task.hub.configuration, split=hub_split, **revision)
    except Exception as error:  # the hub's client raises too many kinds to list
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(f"{name} cannot be loaded from the hub ({reason}): pass local rows with --data DIR") from error
    number, without_source = -1, 0
    for number, row in enumerate(rows):
        if task.has_source and not _has_text(task, row):
            without_source += 1
        else:
            yield PlacedRow(number, f"{name} {hub_split} row {number}", row)
    if without_source:
        _log.warning("%s %s: %d rows without a source are left out", name, hub_split, without_source)
    if without_source > number:
        raise DataError(f"{name} {hub_split} has no row with a source: name another, or pass rows with --data DIR")


def _has_text(task: Task, row: Row) -> bool:
    """False for a row whose source is empty, which of a hub's rows nobody can mend; a wrong name is an error later."""
    field = task.fields["source"]
    names = [field] if isinstance(field, str) else [name for piece in field for name in names_in(piece)]
    return any(not _is_there(row, name) or str(field_of(row, name) or "").strip() for name in names)


def names_in(template: str) -> list[str]:
    """The fields of a template, in their order."""
    return [name for _, name, _, _ in Formatter().parse(template) if name is not None]
