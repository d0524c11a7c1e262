"""Where the time goes."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Phases:
    """Wall time by phase, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.started = time.monotonic()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the time of the block towards `name`."""
        start = time.monotonic()
        yield
        self.seconds[name] += time.monotonic() - start

    def lap(self) -> dict[str, float]:
        """The report of the time since the start or the last lap, and a new start."""
        report = self.report()
        self.seconds.clear()
        self.started = time.monotonic()
        return report

    def report(self) -> dict[str, float]:
        """Seconds of each phase, and `other` for the rest since the start."""
        rest = time.monotonic() - self.started - sum(self.seconds.values())
        return {name: round(seconds, 3) for name, seconds in [*self.seconds.items(), ("other", rest)]}
