"""Tables in the terminal whose titles and cells are texts: no markup in a name is ever read."""

from typing import Any

import rich.table
from rich.console import RenderableType
from rich.text import Text

from ketchup.texts import one_line, printable


class Table(rich.table.Table):
    """rich's table, of texts as they are."""

    def __init__(self, *, title: str, **options: Any) -> None:
        super().__init__(title=Text(printable(title), style="table.title"), **{"title_justify": "left"} | options)

    def add_column(self, header: RenderableType = "", *arguments: Any, **options: Any) -> None:
        """A column; its header is a text."""
        super().add_column(_text(header), *arguments, **options)

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """A row of texts."""
        super().add_row(*(None if cell is None else _text(cell) for cell in cells), **options)


def _text(cell: RenderableType) -> RenderableType:
    return Text(one_line(cell)) if isinstance(cell, str) else cell
