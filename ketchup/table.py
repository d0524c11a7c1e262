"""Tables of named rows, which plug-ins add to."""

import re
from collections import UserDict
from collections.abc import Mapping
from typing import Any, TypeVar

from ketchup.errors import UsageError

Kept = TypeVar("Kept")
_NAME = re.compile(r"[\w.+-]+(:[\w.+-]+)?")


class Table(UserDict[str, Kept]):
    """Rows by name, in their order, each of the `kind`; `table["name"] = row` adds one, and none can be replaced.

    A name means the same in all runs: numbers of two rows under one name would be compared as if they were alike. A
    row that has a name of its own has that one here.
    """

    def __init__(self, kind: Any, rows: Mapping[str, Kept]) -> None:
        self.kind = kind
        super().__init__(rows)

    def __setitem__(self, name: str, row: Kept) -> None:
        self.check(name, row)
        super().__setitem__(name, row)

    def check(self, name: str, row: Kept) -> None:
        """Raises `UsageError` for what can be no row of the table."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no name of a row; use letters, digits, dots and hyphens")
        if name in self:
            raise UsageError(f"there is a {name!r} already; choose another name")
        if not isinstance(row, self.kind):
            raise UsageError(f"the row {name!r} must be a {self.kind.__name__}, not a {type(row).__name__}")
        own = getattr(row, "name", name)
        if isinstance(own, str) and own != name and not isinstance(row, type):
            raise UsageError(f"the row {name!r} calls itself {own!r}; give it one name")
