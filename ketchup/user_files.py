"""Text files that people bring - rows, outputs, references, preferences, prompts - read by one rule.

They are UTF-8. A byte order mark is no text (Unicode 15, section 23.8), neither at the start of a file nor where files
that had one were joined. Lines end in LF or CR LF and nowhere else: U+2028 and its like are text. Whether lines are
JSON is told by what is in them, as names lie. Each error names file, line and what to do.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ketchup.errors import DataError
from ketchup.files import parse_object

Row = Mapping[str, Any]

SHOWN = 8
"""Fields of a row that an error names."""
BYTE_ORDER_MARK = "\ufeff"
_FOREIGN_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16's, with which it begins
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_OPENS_JSON = re.compile(r"""\s*(?:\{\s*(?:["'}]|$)|\[\s*(?:[{"\[]|$))""")  # or Python's way to write it


class PlacedRow(NamedTuple):
    """A row, where it stands (from 0), and what an error about it names, such as `DIR/test.jsonl:3`."""

    number: int
    place: str
    row: Row


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a file without their ends, read as they are asked for; a file without any is a `DataError`."""
    return (line.removesuffix("\n") for line in _ended_lines(path))


def read_text(path: Path) -> str:
    """A whole file, with LF at the end of its lines."""
    return "".join(_ended_lines(path))


def json_rows(path: Path, lines: Iterable[str] | None = None) -> Iterator[PlacedRow]:
    """The JSON objects of a file, one a line, from its `lines` if they have been read; blank ones may end it."""
    blank = None
    number = 0
    for number, line in enumerate(text_lines(path) if lines is None else lines, start=1):
        if not line.strip():
            blank = blank or number
        elif blank:
            raise DataError(f"{path}:{blank}: this is no JSON object but a blank line; delete it.")
        else:
            yield PlacedRow(number - 1, f"{path}:{number}", _row(line, f"{path}:{number}"))
    if blank == 1:
        raise DataError(f"{path} is empty but for {number} blank lines; write one JSON object a line into it.")


def is_json_lines(path: Path, lines: Sequence[str]) -> bool:
    """Whether lines are JSON and not plain text: at least half of those that are not blank begin as JSON does.

    A file of plain text may hold a line or two of JSON, and one of JSON lines a line that is broken. One JSON document
    over several lines is a `DataError`, since it would pass for plain text.
    """
    filled = [line for line in lines if line.strip()]
    if not filled:
        return False
    if 2 * sum(_OPENS_JSON.match(line) is not None for line in filled) >= len(filled):
        return True
    if _OPENS_JSON.match(filled[0]):
        try:
            json.loads("\n".join(lines))
        except (ValueError, RecursionError):
            return False
        raise DataError(f"{path} is one JSON document over several lines; write one object a line.")
    return False


def text_field(row: Row, field: str, place: str) -> str:
    """The string at a dotted field name; a `DataError` where there is none."""
    value = field_of(row, field)
    if value is None and field.split(".", maxsplit=1)[0] not in row:
        there = ", ".join(map(str, list(row)[:SHOWN])) or "none"
        raise DataError(f'{place}: the field "{field}" is missing; the row has {there[:120]}: add or rename one.')
    return text_of(value, field, place)


def text_of(value: Any, field: str, place: str) -> str:
    """A value of a field as the string that it is; a `DataError` where it is none."""
    if value is None:
        raise DataError(f'{place}: the field "{field}" is missing or null; add it to the row.')
    if not isinstance(value, str):
        raise DataError(f'{place}: the field "{field}" is not a string but {shown(value)}; put it in quotes.')
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can escape half a character, which no tokenizer takes
        raise DataError(
            f'{place}: the field "{field}" has half a surrogate pair; write the whole character.'
        ) from error
    return value


def shown(value: Any) -> str:
    """How a value begins, in JSON; what has no form there, as dates of parquet files have none, as Python shows it."""
    return json.dumps(value, default=str)[:40]


def field_of(row: Row, field: str) -> Any:
    """The value at a dotted field name (`translation.nl`); None where there is none."""
    value: Any = row
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _ended_lines(path: Path) -> Iterator[str]:
    """Lines with LF at their end, but for a last line that has none."""
    empty = True
    try:
        with path.open("rb") as file:
            _check_encoding(path, file.peek(4))
            for number, line in enumerate(file, start=1):
                text = _decoded(line, f"{path}:{number}")
                if number == 1 and "\r" in text and not text.endswith("\n"):
                    raise DataError(f"{path} ends its lines with carriage returns alone; save it with line feeds.")
                if text:  # what is left of a last line may be a byte order mark
                    empty = False
                    yield text
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check the name.") from error
    if empty:
        raise DataError(f"{path} is empty; check the name, or fill it.")


def _check_encoding(path: Path, start: bytes) -> None:
    for mark, encoding in _FOREIGN_MARKS.items():
        if start.startswith(mark):
            raise DataError(f"{path} is {encoding}; save it as UTF-8.")


def _decoded(line: bytes, place: str) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: byte {error.start + 1} is not UTF-8; save the file as UTF-8.") from error
    if "\0" in text:
        raise DataError(f"{place}: a NUL byte is no text (UTF-16 has such bytes); save the file as UTF-8.")
    text = text.lstrip(BYTE_ORDER_MARK)
    return text.removesuffix("\n").removesuffix("\r") + "\n" * text.endswith("\n")


def _row(line: str, place: str) -> Row:
    try:
        return parse_object(line.encode())
    except ValueError as error:
        raise DataError(f"{place}: this {error}; mend the line or delete it.") from error
