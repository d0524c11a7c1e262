"""Servers that a command asks or starts, and the options of a teacher behind one.

Where the command shares its work among processes of this machine, the first starts the server for all.
"""

import os
import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from ketchup.errors import UsageError

if TYPE_CHECKING:
    from ketchup.remote.serving import Trial

PANEL = "A teacher behind a server"
STARTED = "KETCHUP_TEACHER_URL"
"""Set for processes that share the server which another one started."""
STARTING = "http://127.0.0.1"
"""What stands for the address of a server that is yet to be started."""
TeacherUrl = Annotated[
    str | None,
    typer.Option(
        help="address of vLLM's OpenAI server that has the --teacher; the key is read from OPENAI_API_KEY",
        rich_help_panel=PANEL,
    ),
]
Serve = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="start vLLM with this teacher (built-in name, folder or hub id), and stop it at the end",
        rich_help_panel=PANEL,
    ),
]
ServePython = Annotated[
    str | None, typer.Option(help="Python of an environment with vLLM; default: this one", rich_help_panel=PANEL)
]
ServeOptions = Annotated[str, typer.Option(help="more options for vLLM, as one quoted text", rich_help_panel=PANEL)]


class Server(NamedTuple):
    """Where a teacher is, and the key that it is asked with; `url` is `None` where it is loaded here."""

    url: str | None
    key: str | None = None


def check_words(serve: str | None, serve_python: str | None, serve_options: str) -> list[str]:
    """The options for vLLM as words; raises `UsageError` for options of a server that is not started."""
    for option, value in (("--serve-python", serve_python), ("--serve-options", serve_options)):
        if value and not serve:
            raise UsageError(f"{option} is for the server that --serve starts; add --serve MODEL or leave it out.")
    try:
        return shlex.split(serve_options)
    except ValueError as error:
        raise UsageError(f"--serve-options is no line of options ({error}); close its quotes.") from error


def teacher_named(teacher: str | None, teacher_url: str | None, serve: str | None) -> str | None:
    """The teacher by whichever option names it; raises `UsageError` for options that contradict each other."""
    if serve and (teacher_url or teacher not in (None, serve)):
        other = "--teacher-url" if teacher_url else "--teacher"
        raise UsageError(f"--serve starts a server of the teacher that it names; leave out {other}.")
    if teacher_url is not None:
        from ketchup.remote.endpoint import Endpoint

        Endpoint(teacher_url, option="--teacher-url")
    return serve or teacher


def started(
    run: Path, model: str, python: str | None, options: list[str], trial: "Trial"
) -> tuple[AbstractContextManager[str], str | None]:
    """A server to be started, and the key that it is asked with."""
    from ketchup.hashes import check_sums
    from ketchup.models.builtin import resolve
    from ketchup.remote.serving import served_key, serving

    key, place = served_key(options), resolve(model)
    check_sums(Path(place), unread="trainer.pt")
    return serving(str(place), model, run / "server.log", python, options, key, trial), key


@contextmanager
def teacher_server(
    run: Path, teacher_url: str | None, serve: str | None, serve_python: str | None, serve_options: str
) -> Iterator[Server]:
    """The teacher's server while the block runs, started if the command says so."""
    words = check_words(serve, serve_python, serve_options)
    if not serve:
        yield Server(teacher_url)
    elif STARTED in os.environ:
        from ketchup.remote.serving import served_key

        yield Server(os.environ[STARTED], served_key(words))
    else:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UsageError("--serve starts a server in one process; under a launcher name a running --teacher-url.")
        from ketchup.remote.serving import TEXT

        server, key = started(run, serve, serve_python, words, TEXT)
        with server as url:
            os.environ[STARTED] = url
            try:
                yield Server(url, key)
            finally:
                del os.environ[STARTED]
