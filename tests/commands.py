"""`ketchup` in processes of its own, which can kill themselves with SIGKILL at a chosen call.

They are forked from a server that has imported the libraries, so that a process costs a fraction of a second.
"""

import json
import multiprocessing
import os
import pkgutil
import random
import signal
import socket
import sys
from dataclasses import dataclass

MODULES = (
    "tests.commands",
    "ketchup_eval.cli.program",
    "ketchup.training.run",
    "ketchup_eval.variance.study",
    "ketchup_eval.report.variance_figure",
    "ketchup_eval.report.variance_table",
)


@dataclass(frozen=True)
class Kill:
    """SIGKILL at the n-th call of a function (dotted name), `before` or `after` it does its work."""

    function: str
    call: int = 1
    when: str = "after"


@dataclass(frozen=True)
class Finished:
    """How a command ended: -9 is a kill."""

    code: int
    stdout: str
    stderr: str


PROGRAM = "ketchup_eval.cli.app"


def ketchup(folder, *arguments, kill=None, seconds=60, program=PROGRAM):
    """Runs `ketchup ARGUMENTS` in a new process and in `folder`, which may take so long."""
    return _finished(folder, _started(folder, arguments, kill, {}, program=program), seconds)


def together(folder, *commands, kills=None, values=None, seconds=120, program=PROGRAM):
    """Runs the commands, one a process, as a launcher does whose processes share the work; each in a folder of its own.

    `kills` are those of processes by their number; `values` are of constants, by their dotted names. `program` is the
    dotted name of another function that takes the words of a command.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank, arguments in enumerate(commands):
        (folder / str(rank)).mkdir(parents=True, exist_ok=True)
        ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": len(commands), "LOCAL_WORLD_SIZE": len(commands)}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "KETCHUP_LAUNCHED": 1, "ACCELERATE_USE_CPU": "true"}
        place["OMP_NUM_THREADS"] = 1  # as launchers do
        environment = {name: str(value) for name, value in {**ranks, **place}.items()}
        started.append(_started(folder / str(rank), arguments, (kills or {}).get(rank), environment, values, program))
    return [_finished(folder / str(rank), process, seconds) for rank, process in enumerate(started)]


def _started(folder, arguments, kill, environment, values=None, program=PROGRAM):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(MODULES))
    words = [str(argument) for argument in arguments]
    process = context.Process(target=_work, args=(str(folder), words, kill, environment, values or {}, program))
    process.start()
    return process


def _finished(folder, process, seconds):
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"the command hangs: {(folder / 'stderr').read_text()}")
    return Finished(process.exitcode, (folder / "stdout").read_text(), (folder / "stderr").read_text())


def _work(folder, arguments, kill, environment, values, program):
    os.chdir(folder)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ |= {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg", **environment}
    sys.argv = ["ketchup", *arguments]
    if kill:
        _install(kill)
    for constant, value in values.items():
        place, name = constant.rsplit(".", 1)
        setattr(pkgutil.resolve_name(place), name, value)
    pkgutil.resolve_name(program)(arguments, prog_name="ketchup")


def _install(kill):
    place, name = kill.function.rsplit(".", 1)
    owner = pkgutil.resolve_name(place)
    function = getattr(owner, name)
    calls = 0

    def doomed(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == kill.call and kill.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if calls == kill.call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, doomed)


def write_data(folder, **rows):
    """GSM8K rows in the tiny words, so many for each split."""
    folder.mkdir(exist_ok=True)
    letters = random.Random(0)
    for split, count in rows.items():
        lines = [
            {field: "".join(letters.choices("abcd", k=letters.randint(1, 8))) for field in ("question", "answer")}
            for _ in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
