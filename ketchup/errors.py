"""Every error a user can cause: one sentence that names the file, line or value, then the fix.

The command line prints `str(error)` and leaves with `error.exit_code`; a traceback is shown only with `--debug`.
A new kind of error is a subclass here, so that callers can tell kinds apart without reading text.
"""


class KetchupError(Exception):
    """An expected failure; its text is one sentence with the fix."""

    exit_code = 1


class UsageError(KetchupError):
    """An option value that can never work, whatever the files hold."""

    exit_code = 2


class DataError(KetchupError):
    """Rows that cannot be read or do not fit the task."""


class ModelError(KetchupError):
    """A model that cannot be loaded, or does not fit the others."""


class RunError(KetchupError):
    """A run directory that is in use, damaged, or belongs to other settings."""


class ServerError(KetchupError):
    """A server that cannot be reached or does not do what is asked of it."""


def first_line(error: BaseException) -> str:
    """What an error of a library says, cut to the first line that says something; its kind where none does."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    said = " ".join(map(str.strip, lines[:2])) if lines[0].endswith(":") else lines[0]
    return said.removesuffix(".")[:160]
