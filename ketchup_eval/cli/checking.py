"""Commands whose words are only looked at: those of a plan, before the first of them runs."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

_only = ContextVar("only", default=False)


class _EnoughError(Exception):
    """The words of a command have been looked at."""


def words_are_checked() -> None:
    """A command calls this between looking at its words and reading rows, runs and models."""
    if _only.get():
        raise _EnoughError


@contextmanager
def only_checking() -> Iterator[None]:
    """Commands in the block end where their words have been looked at."""
    token = _only.set(True)
    try:
        with suppress(_EnoughError):
            yield
    finally:
        _only.reset(token)
