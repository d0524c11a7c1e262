"""`--processes N`: the same command in N processes of this machine, which share the work between them.

They find each other as under `accelerate launch`, which does the same over several machines.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

import typer

from ketchup import checks
from ketchup.children import watched
from ketchup.choices import EngineName
from ketchup.errors import KetchupError, UsageError
from ketchup.machine import cores
from ketchup_eval.cli.command import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from ketchup.where import Where

LAUNCHED = "KETCHUP_LAUNCHED"
"""Set in a process that was started by another, which has nothing more to start."""
SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_END = 10.0


def share_among(processes: int | None, where: "Where", teachers: Sequence[str | None], engine: EngineName) -> None:
    """Starts the command anew in so many processes and leaves with their exit code; does nothing for one.

    `None` is one for each GPU, and one where there is none or one of `teachers` takes them all: see `usual_processes`.
    In a process that was started here or by a launcher there is nothing more to start. Raises `UsageError` where they
    could not compute `where` they are told, each with as many GPUs as the `engine` takes.
    """
    if os.environ.get(LAUNCHED):
        return
    launcher = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if launcher and processes is not None:
        raise UsageError(
            "--processes starts processes on one machine; leave it out under a launcher, which has done so."
        )
    checks.whole("--processes", processes, most=checks.MOST_WORKERS)
    from ketchup.devices import check_device
    from ketchup.models.placement import usual_processes
    from ketchup.rollouts.names import row_of

    _, each = row_of(engine)
    count = 1 if launcher else processes or usual_processes(where, [name for name in teachers if name], each)
    check_device(where.device, count, each)
    if count > 1:
        raise typer.Exit(_run(_without_option(sys.argv[1:]), count))


def _run(arguments: Sequence[str], count: int) -> int:
    """Runs all until the last ends well or the first does not, and then ends the others; the exit code of the first.

    Only the first process writes to the terminal. What another says is shown if that one is why all ended.
    """
    with tempfile.TemporaryFile() as said:
        port = _free_port()
        children = [_start(arguments, index, count, port, said) for index in range(count)]
        try:
            while all(child.poll() in (None, 0) for child in children):
                if all(child.poll() == 0 for child in children):
                    return 0
                time.sleep(SECONDS_BETWEEN_LOOKS)
            failed = next(index for index, child in enumerate(children) if child.poll())
            code = int(children[failed].returncode)
            if code < 0:
                raise KetchupError(
                    f"Process {failed} of {count} was ended by signal {-code}; run the same command again to continue."
                )
            if failed and not children[0].poll():
                said.seek(0)
                sys.stderr.write(said.read().decode(errors="replace"))
            return code
        except KeyboardInterrupt:
            for child in children:
                child.send_signal(signal.SIGINT)
            _wait(children)
            return EXIT_INTERRUPTED
        finally:
            _wait(children, end=True)


def _start(arguments: Sequence[str], index: int, count: int, port: int, said: IO[bytes]) -> "subprocess.Popen[bytes]":
    together = {
        "RANK": index,
        "LOCAL_RANK": index,
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": count,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", max(1, cores() // count)),
        LAUNCHED: 1,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "ketchup_eval.cli", *arguments],
        env=watched({**os.environ, **{name: str(value) for name, value in together.items()}}),
        stdin=subprocess.PIPE,
        stderr=said if index else None,
    )


def _wait(children: "Sequence[subprocess.Popen[bytes]]", *, end: bool = False) -> None:
    until = time.monotonic() + SECONDS_TO_END
    for child in children:
        if end and child.stdin:
            child.stdin.close()
        try:
            child.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _without_option(arguments: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip or argument.startswith("--processes="):
            skip = False
        elif argument == "--processes":
            skip = True
        else:
            kept.append(argument)
    return kept
