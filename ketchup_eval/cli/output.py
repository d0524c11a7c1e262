"""All that commands print: nothing in it can act on the terminal, and no secret is in it."""

import json
import logging
import sys
import traceback
from typing import TYPE_CHECKING

import typer

from ketchup.redaction import redacted
from ketchup.texts import one_line, printable

if TYPE_CHECKING:
    from rich.table import Table


def say(text: str, *, err: bool = False) -> None:
    """A line or more on stdout, or on stderr."""
    typer.echo(printable(redacted(text)), err=err)


def say_json(content: object) -> None:
    """A result as JSON, in which control characters are escaped."""
    typer.echo(json.dumps(content, indent=2))


def show(*tables: "Table", width: int) -> None:
    """Tables, as wide as the terminal or, where stdout is none, `width` columns."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else width)
    for table in tables:
        console.print(table)


def show_traceback(error: BaseException) -> None:
    """The traceback of an error, on stderr."""
    say("".join(traceback.format_exception(error)).rstrip("\n"), err=True)


class PlainFormatter(logging.Formatter):
    """A record is a line like all that is said."""

    def format(self, record: logging.LogRecord) -> str:
        """The message on one line."""
        return one_line(redacted(super().format(record)))


def log_plainly() -> None:
    """Warnings go to stderr like everything that is said."""
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter())
    handler.setLevel(logging.WARNING)
    logging.getLogger().addHandler(handler)
