"""A server of one's own for a built-in model, a folder or a hub id, from the options that name it."""

import shlex
from contextlib import AbstractContextManager
from pathlib import Path

from ketchup.errors import UsageError
from ketchup.hashes import check_sums
from ketchup.models.builtin import resolve
from ketchup.remote.serving import Trial, served_key, serving


def check_words(serve: str | None, serve_python: str | None, serve_options: str) -> list[str]:
    """The options for vLLM as words; raises `UsageError` for options of a server that is not started."""
    for option, value in (("--serve-python", serve_python), ("--serve-options", serve_options)):
        if value and not serve:
            raise UsageError(f"{option} is for the server that --serve starts; add --serve MODEL or leave it out.")
    try:
        return shlex.split(serve_options)
    except ValueError as error:
        raise UsageError(f"--serve-options is no line of options ({error}); close its quotes.") from error


def started(
    run: Path, model: str, python: str | None, options: list[str], trial: Trial
) -> tuple[AbstractContextManager[str], str | None]:
    """A server to be started, and the key that it is asked with."""
    key, place = served_key(options), resolve(model)
    check_sums(Path(place), unread="trainer.pt")
    return serving(str(place), model, run / "server.log", python, options, key, trial), key
