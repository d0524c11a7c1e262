"""The items that outputs belong to: rows of a task, or files that hold their references or sources."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ketchup.choices import Split
from ketchup.errors import UsageError
from ketchup.inputs import is_json_lines, json_rows, text_lines
from ketchup.tasks.base import Example, Task
from ketchup.tasks.rows import load_examples, partial_examples


@dataclass(frozen=True)
class Rows:
    """Where the items are: in the folder `data`, in a file of `references` or of `sources`, else where the task's are.

    Such a file has plain lines, whose ids are 1 to n, or JSON lines (see `partial_examples`).
    """

    data: Path | None = None
    references: Path | None = None
    sources: Path | None = None

    def __post_init__(self) -> None:
        if sum(place is not None for place in (self.data, self.references, self.sources)) > 1:
            raise UsageError("--data, --references and --sources each say where the rows are; give one of them.")

    def or_those_of(self, recorded: Mapping[str, Any]) -> "Rows":
        """The same if any is named, else those of a manifest or an earlier evaluation."""
        if self != Rows():
            return self
        return Rows(**{name: Path(recorded[name]) for name in ("data", "references") if recorded.get(name)})


def load_items(task: Task, split: Split, rows: Rows, limit: int | None = None) -> list[Example]:
    """The first `limit` items, or all of them. What a file does not hold is empty; blank lines at its end are none."""
    if rows.references is not None:
        return _items_of_file(task, split, rows.references, "reference")[:limit]
    if rows.sources is not None:
        return _items_of_file(task, split, rows.sources, "source")[:limit]
    return load_examples(task, split, rows.data, limit)


def _items_of_file(task: Task, split: Split, path: Path, part: Literal["source", "reference"]) -> list[Example]:
    lines = list(text_lines(path))
    if is_json_lines(path, lines):
        return list(partial_examples(task, split, json_rows(path, lines), part))
    while lines and not lines[-1].strip():
        lines.pop()
    return [
        Example(str(number), line if part == "source" else "", line if part == "reference" else "")
        for number, line in enumerate(lines, start=1)
    ]
