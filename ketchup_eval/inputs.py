"""The inputs that outputs belong to: rows of a task, or files that hold their references or sources."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ketchup.choices import Split
from ketchup.errors import UsageError
from ketchup.tasks.base import Input, Task
from ketchup.tasks.rows import load_inputs, partial_inputs
from ketchup.user_files import is_json_lines, json_rows, text_lines


@dataclass(frozen=True)
class RowsFrom:
    """Where the rows of inputs are: the folder `data`, a file of `references` or of `sources`, or else the task's own.

    Such a file has plain lines, whose ids are 1 to n, or JSON lines (see `partial_inputs`).
    """

    data: Path | None = None
    references: Path | None = None
    sources: Path | None = None

    def __post_init__(self) -> None:
        if sum(place is not None for place in (self.data, self.references, self.sources)) > 1:
            raise UsageError("--data, --references and --sources each say where the rows are; give one of them.")

    def or_those_of(self, recorded: Mapping[str, Any]) -> "RowsFrom":
        """The same if any is named, else those of a manifest or an earlier evaluation."""
        if self != RowsFrom():
            return self
        return RowsFrom(**{name: Path(recorded[name]) for name in ("data", "references") if recorded.get(name)})


def find_inputs(task: Task, split: Split, rows: RowsFrom, limit: int | None = None) -> list[Input]:
    """The first `limit` inputs, or all of them. What a file does not hold is empty; blank lines at its end are none."""
    if rows.references is not None:
        return _inputs_of_file(task, split, rows.references, "reference")[:limit]
    if rows.sources is not None:
        return _inputs_of_file(task, split, rows.sources, "source")[:limit]
    return load_inputs(task, split, rows.data, limit)


def _inputs_of_file(task: Task, split: Split, path: Path, part: Literal["source", "reference"]) -> list[Input]:
    lines = list(text_lines(path))
    if is_json_lines(path, lines):
        return list(partial_inputs(task, split, json_rows(path, lines), part))
    while lines and not lines[-1].strip():
        lines.pop()
    return [
        Input(str(number), line if part == "source" else "", line if part == "reference" else "")
        for number, line in enumerate(lines, start=1)
    ]
