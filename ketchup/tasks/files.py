"""Rows of local files: JSON lines, CSV with a line of names, parquet; which one is told by the name."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from ketchup.errors import DataError, first_line
from ketchup.user_files import PlacedRow, json_rows, text_lines

BATCH = 1024
"""Rows of a parquet file that are read at once."""
LONGEST_VALUE = 2**31 - 1
"""Characters of a CSV file's value; Python's own limit of 131,072 is less than a long document."""


def rows_of_file(path: Path) -> Iterator[PlacedRow]:
    """The rows of a file whose name ends in one of `READERS`."""
    if not path.is_file():
        raise DataError(f"{path} is missing; check the name, which is relative to the task's file.")
    empty = True
    for row in READERS[path.suffix.lower()](path):
        empty = False
        yield row
    if empty:
        raise DataError(f"{path} has no rows; check the name, or fill it.")


def _csv_rows(path: Path) -> Iterator[PlacedRow]:
    """All values are texts; quoted ones may hold commas and line breaks."""
    csv.field_size_limit(LONGEST_VALUE)
    reader = csv.reader((line + "\n" for line in text_lines(path)), strict=True)
    number, names, start = 0, None, 1
    try:
        for values in reader:
            place, start = f"{path}:{start}", reader.line_num + 1
            if names is None:
                names = values
                double = [name for name in names if names.count(name) > 1]
                if double:
                    raise DataError(f"{place}: two columns are called {double[0]!r}; rename one.")
            elif values:  # a blank line is no row
                if len(values) != len(names):
                    raise DataError(f"{place}: {len(values)} values for {len(names)} columns; mend the row.")
                yield PlacedRow(number, place, dict(zip(names, values, strict=True)))
                number += 1
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: this is no CSV ({error}); mend the row.") from error


def _parquet_rows(path: Path) -> Iterator[PlacedRow]:
    import pyarrow as pa  # noqa: PLC0415  (few need it)
    from pyarrow import parquet  # noqa: PLC0415

    number = 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches(BATCH):
            for row in batch.to_pylist():
                yield PlacedRow(number, f"{path} row {number}", row)
                number += 1
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is no parquet file that can be read ({first_line(error)}); write it again.") from error


READERS: dict[str, Callable[[Path], Iterator[PlacedRow]]] = {
    ".jsonl": json_rows,
    ".csv": _csv_rows,
    ".parquet": _parquet_rows,
}
