"""Where functions work that are commands too: in a folder of runs, or in one that nobody sees."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ketchup.errors import UsageError
from ketchup.remote.endpoint import Endpoint

RUNS = "runs"
"""Where runs are looked for by their names unless told."""


@contextmanager
def folder_of(runs_dir: str | Path | None) -> Iterator[Path]:
    """`runs_dir`, or a folder that is gone afterwards."""
    if runs_dir is not None:
        yield Path(runs_dir)
        return
    with tempfile.TemporaryDirectory(prefix="ketchup-") as hidden:
        yield Path(hidden)


def check_alone(function: str, command: str) -> None:
    """Raises `UsageError` under a launcher: each process would get a result, and all but the first none."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(f"ketchup.{function} is for one process; several share the work of `ketchup {command}`.")


def check_url(teacher: str | None, teacher_url: str | None) -> None:
    """Raises `UsageError` for an address that is none, and for one without the name of the teacher there."""
    if teacher_url is not None:
        Endpoint(teacher_url, option="--teacher-url")
        if teacher is None:
            raise UsageError("--teacher-url is where a teacher is; name it with --teacher.")
