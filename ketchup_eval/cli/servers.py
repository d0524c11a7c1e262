"""Servers that a command asks or starts, and the options of a teacher behind one.

Where the command shares its work among processes of this machine, the first starts the server for all.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from ketchup.errors import UsageError

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


def teacher_named(teacher: str | None, teacher_url: str | None, serve: str | None) -> str | None:
    """The teacher by whichever option names it; raises `UsageError` for options that contradict each other."""
    if serve and (teacher_url or teacher not in (None, serve)):
        other = "--teacher-url" if teacher_url else "--teacher"
        raise UsageError(f"--serve starts a server of the teacher that it names; leave out {other}.")
    if teacher_url is not None:
        from ketchup.remote.endpoint import Endpoint

        Endpoint(teacher_url, option="--teacher-url")
    return serve or teacher


@contextmanager
def teacher_server(
    run: Path, teacher_url: str | None, serve: str | None, serve_python: str | None, serve_options: str
) -> Iterator[Server]:
    """The teacher's server while the block runs, started if the command says so."""
    from ketchup.models.served.starting import check_words, started

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
