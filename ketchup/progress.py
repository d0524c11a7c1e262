"""Progress of long work, with the time left, on stderr: a bar on a terminal, a line every few seconds elsewhere."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from ketchup.texts import one_line

if TYPE_CHECKING:
    from rich.progress import Progress

SECONDS_BETWEEN_LINES = 5.0
SECONDS_WORTH_A_LINE = 1.0
"""Work that ends sooner leaves no line."""


class Bar(Protocol):
    """Counts what is done."""

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Count `amount` more as done; `note` is shown beside the count until the next note."""


@contextmanager
def progress(name: str, *, total: int, unit: str, done: int = 0) -> Iterator[Bar]:
    """Show how much of some work is done and how long the rest will take.

    `done` is what an earlier run of the same work has finished; the time left follows from the pace since then.
    A bar may be opened inside another. Of several processes started by a launcher, only the first shows anything.
    """
    if os.environ.get("RANK", "0") != "0":
        yield _Silent()
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _shared_display() as display:
            bar = _TerminalBar(display, name, total, unit, done)
            try:
                yield bar
            finally:
                bar.close()
    else:
        lines = _Lines(name, total, unit, done)
        try:
            yield lines
        finally:
            lines.close()


class _Silent:
    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Nothing to show."""


class _Lines:
    """Prints a line at most every `SECONDS_BETWEEN_LINES`, and one at the end."""

    def __init__(self, name: str, total: int, unit: str, done: int) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = self.done_before = done
        self.note = ""
        self.started = self.last_line = time.monotonic()

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        self.done += amount
        self.note = self.note if note is None else note
        now = time.monotonic()
        if now - self.last_line >= SECONDS_BETWEEN_LINES and self.done < self.total:
            self.last_line = now
            self._print(f"{clock(now - self.started)} elapsed, {self._time_left(now)} left")

    def close(self) -> None:
        elapsed = time.monotonic() - self.started
        if elapsed >= SECONDS_WORTH_A_LINE:
            self._print(f"{clock(elapsed)} elapsed, {'finished' if self.done >= self.total else 'stopped'}")

    def _time_left(self, now: float) -> str:
        done_now = self.done - self.done_before
        if done_now == 0:
            return "?"
        return clock((now - self.started) / done_now * (self.total - self.done))

    def _print(self, times: str) -> None:
        percent = 100 * self.done // self.total if self.total else 100
        note = f", {self.note}" if self.note else ""
        line = f"{self.name}: {self.done}/{self.total} {self.unit} ({percent}%), {times}{note}"
        sys.stderr.write(f"{one_line(line)}\n")
        sys.stderr.flush()


class _TerminalBar:
    """One row of the shared display."""

    def __init__(self, display: "Progress", name: str, total: int, unit: str, done: int) -> None:
        self.display = display
        self.row = display.add_task(one_line(name), total=total, completed=done, unit=unit, note="")

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        self.display.advance(self.row, amount)
        if note is not None:
            self.display.update(self.row, note=one_line(note))

    def close(self) -> None:
        # An inner bar leaves the screen with its work; the outermost one stays, as the record of the run.
        if len(self.display.tasks) > 1:
            self.display.remove_task(self.row)


_display: "Progress | None" = None
"""What is drawing on the terminal: two displays at once would overwrite each other."""


@contextmanager
def _shared_display() -> Iterator["Progress"]:
    """The display in use, or a new one that is stopped, with its thread, at the end."""
    global _display  # noqa: PLW0603
    if _display is not None:
        yield _display
        return
    with _new_display() as display:
        _display = display
        try:
            yield display
        finally:
            _display = None


def _new_display() -> "Progress":
    # rich takes a tenth of a second to import, which `ketchup --help` should not pay
    from rich import progress as rich_progress  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    return rich_progress.Progress(
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.TextColumn("{task.completed}/{task.total} {task.fields[unit]}", markup=False),
        rich_progress.TaskProgressColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
        redirect_stdout=False,  # results must reach stdout, whatever stderr shows
    )


def clock(seconds: float) -> str:
    """Seconds as `4:05` or `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
