"""Tables of named rows, which plug-ins add to."""

from typing import TypeVar

from ketchup.errors import UsageError

Kept = TypeVar("Kept")


class Table(dict[str, Kept]):
    """Rows by name, in their order; `table["name"] = row` adds one, and none can be replaced.

    A name means the same in all runs: numbers of two rows under one name would be compared as if they were alike.
    """

    def __setitem__(self, name: str, row: Kept) -> None:
        if name in self:
            raise UsageError(f"there is a {name!r} already; choose another name")
        super().__setitem__(name, row)
