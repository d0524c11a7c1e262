"""What rows of tables raise and make, those of plug-ins above all: a sentence with the plug-in's line."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ketchup.errors import DataError, KetchupError, UsageError, first_line
from ketchup.files import is_disk_full

Made = TypeVar("Made")
PLUGIN_MODULES = "ketchup_plugin_"
"""How the names of plug-ins' modules begin."""


@contextmanager
def failing(what: str) -> Iterator[None]:
    """What is raised in the block is a `DataError` that names `what`, and the line of the plug-in that was at work.

    Errors that are sentences already pass, and so do those of the machine: no memory, a full disk.
    """
    try:
        yield
    except (KetchupError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if is_disk_full(error):
            raise
        raise DataError(f"{what} fails ({said(error)}{_at(error)}); mend it.") from error


def made(what: str, kind: type[Made], build: Callable[[], object]) -> Made:
    """What `build` makes; a `UsageError` where that is not of the `kind`, a `DataError` where it fails."""
    with failing(what):
        found = build()
    if not isinstance(found, kind):
        raise UsageError(f"{what} makes a {type(found).__name__} and no {kind.__name__}; mend it.")
    return found


def check_builder(row: object, build: object) -> None:
    """Raises `UsageError` for a row whose builder cannot be called."""
    if not callable(build):
        raise UsageError(f"the build of a {type(row).__name__} must be a function, not a {type(build).__name__}")


def said(error: BaseException) -> str:
    """What an error says in a line, with its kind where it is not one of this project."""
    line = first_line(error)
    return line if isinstance(error, KetchupError) else f"{type(error).__name__}: {line}"


def _at(error: BaseException) -> str:
    """Where in a plug-in; types that are texts are looked up in no file."""
    places = [
        f" at {frame.f_code.co_filename}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).startswith(PLUGIN_MODULES)
    ]
    return next((place for place in reversed(places) if not place.startswith(" at <")), "")
