"""Runs a graph on this machine: so many commands at once, each when what it needs is done."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from ketchup.children import watched
from ketchup.errors import KetchupError
from ketchup.files import run_lock
from ketchup.machine import cores
from ketchup.progress import progress
from ketchup_eval.study.node import Node
from ketchup_eval.study.ranking import FOLDER, freeze
from ketchup_eval.study.rates import choose_rate, chosen_rate
from ketchup_eval.study.stamps import Stamp, log_path, read_stamps, write_stamp

SECONDS_BETWEEN_LOOKS = 0.05
SECONDS_TO_END = 30.0
PROGRAM = (sys.executable, "-m", "ketchup_eval.cli")


@dataclass
class Outcome:
    """The nodes that are done now, those that failed, and those whose needs are not there."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)


@dataclass
class _Job:
    node: Node
    process: "subprocess.Popen[bytes]"
    log: IO[bytes]
    stamp: Stamp
    began: float


def run_graph(
    nodes: Mapping[str, Node],
    chosen: Mapping[str, Node],
    folder: Path,
    jobs: int,
    threads: int | None = None,
    watch: Callable[[int], None] = lambda _: None,
    program: Sequence[str] = PROGRAM,
) -> Outcome:
    """Runs the `chosen` nodes that are not done, `jobs` at a time, and goes on where one fails.

    `watch` is called all the while with how many have begun or ended. A node whose needs are neither done nor chosen is
    unreached. Killed, the study takes its commands with it; started again, it goes on with what is not done. Raises
    `RunError` where a stamp says that something was made by other settings, before anything runs.
    """
    with run_lock(folder):
        stamps = read_stamps(folder, nodes)
        done = {name for name, stamp in stamps.items() if stamp.state == "done"}
        outcome = Outcome(done=[name for name in chosen if name in done])
        left = [node for name, node in chosen.items() if name not in done]
        running: list[_Job] = []
        changes = 0
        share = threads or max(1, cores() // jobs)
        with progress("study", total=len(chosen), unit="commands", done=len(outcome.done)) as bar:
            try:
                while left or running:
                    for node in [node for node in left if done.issuperset(node.needs)][: jobs - len(running)]:
                        left.remove(node)
                        running.append(_start(node, folder, share, stamps.get(node.name), program))
                        changes += 1
                    if not running:
                        break
                    time.sleep(SECONDS_BETWEEN_LOOKS)
                    for job in [job for job in running if job.process.poll() is not None]:
                        running.remove(job)
                        well = _end(job, folder)
                        (outcome.done if well else outcome.failed).append(job.node.name)
                        if well:
                            done.add(job.node.name)
                        bar.advance(note=f"{job.node.name} {'done' if well else 'failed'}")
                        changes += 1
                    watch(changes)
            finally:
                _stop(running, folder)
        outcome.unreached = [node.name for node in left]
    return outcome


def run_node(node: Node, folder: Path, threads: int | None) -> int:
    """Runs one node, for an engine that keeps the order itself; its exit code.

    What a study does itself is done here: a rate is chosen, a ranking frozen.
    """
    stamp = read_stamps(folder, {node.name: node}).get(node.name)
    if stamp is not None and stamp.state == "done":
        return 0
    if node.kind in ("rate", "predict"):
        if node.ranking is not None:
            freeze(node.ranking, node.labels, folder / FOLDER / f"{node.name}.json")
        else:
            choose_rate(node.trials, folder / "rates" / f"{node.name}.txt")
        write_stamp(folder, node.name, replace(stamp or _first(node), state="done", code=0))
        return 0
    job = _start(node, folder, threads or cores(), stamp)
    try:
        job.process.wait()
    except BaseException:
        _stop([job], folder)
        raise
    _end(job, folder)
    return int(job.process.returncode)


def words_of(node: Node, threads: int | None) -> list[str]:
    """The words after `ketchup`, with the learning rate that was chosen and the threads of this machine."""
    words = list(node.words)
    if node.rate is not None:
        words += ["--learning-rate", chosen_rate(node.rate)]
    if node.threads and threads is not None:
        words += ["--threads", str(threads)]
    return words


def _start(node: Node, folder: Path, threads: int, before: Stamp | None, program: Sequence[str] = PROGRAM) -> _Job:
    stamp = replace(before or _first(node), state="started", code=None)
    write_stamp(folder, node.name, stamp)
    path = log_path(folder, node.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.open("ab")
    process = subprocess.Popen(
        [*program, *words_of(node, threads)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=watched({**os.environ, "OMP_NUM_THREADS": str(threads)}),
    )
    return _Job(node, process, log, stamp, time.monotonic())


def _first(node: Node) -> Stamp:
    return Stamp("started", node.made_by, 0.0, datetime.now(UTC).isoformat(timespec="seconds"))


def _end(job: _Job, folder: Path) -> bool:
    """Keeps how a command ended; whether it ended well."""
    seconds = job.stamp.seconds + time.monotonic() - job.began
    code = int(job.process.returncode)
    ended = replace(job.stamp, state="failed" if code else "done", seconds=seconds, code=code)
    write_stamp(folder, job.node.name, ended)
    job.log.close()
    if job.process.stdin:
        job.process.stdin.close()
    return code == 0


def _stop(running: Sequence[_Job], folder: Path) -> None:
    """Lets commands end by themselves, as by Ctrl-C, and keeps how long they took."""
    for job in running:
        job.process.send_signal(signal.SIGINT)
    until = time.monotonic() + SECONDS_TO_END
    for job in running:
        try:
            job.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            job.process.kill()
            job.process.wait()
        seconds = job.stamp.seconds + time.monotonic() - job.began
        write_stamp(folder, job.node.name, replace(job.stamp, seconds=seconds))
        job.log.close()


def reason(folder: Path, name: str) -> str:
    """The last line that a command said."""
    try:
        lines = log_path(folder, name).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise KetchupError(f"{log_path(folder, name)} cannot be read ({error.strerror}).") from error
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
