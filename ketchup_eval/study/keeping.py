"""Writes what a study found while it still runs, so that it can be watched."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ketchup.errors import KetchupError
from ketchup_eval.study.claims import Judged, judge_claims, write_claims
from ketchup_eval.study.collect import STUDY, Content, collect, write_study
from ketchup_eval.study.node import Node
from ketchup_eval.study.plan import Plan

SHARE = 0.1
"""Most of the time that may go into writing: a study of hundreds of runs is read in a second or two."""
SECONDS_BETWEEN_REFRESHES = 60.0

_log = logging.getLogger(__name__)


class Keeper:
    """Keeps `study.json` and `claims.json` of a study's folder up to date, and what `show` makes of them meanwhile."""

    def __init__(
        self,
        plan: Plan,
        nodes: Mapping[str, Node],
        folder: Path,
        show: Callable[[Content, Sequence[Judged]], object] = lambda *_: None,
    ) -> None:
        self.plan, self.nodes, self.folder, self.show = plan, nodes, folder, show
        self.written: int | None = None
        self.next = 0.0

    def watch(self, changes: int) -> None:
        """Called again and again with how many commands have begun or ended: writes what is new, not too often.

        What cannot be read or written is told and stops nothing: the study's own end says it again.
        """
        if changes == self.written or time.monotonic() < self.next:
            return
        began = time.monotonic()
        try:
            self.show(*self.now())
        except KetchupError as error:
            _log.warning("%s (the study goes on)", error)
        ended = time.monotonic()
        self.written, self.next = changes, ended + (ended - began) / SHARE

    def refresh(self) -> None:
        """Called as a command ends that an engine runs: writes what is known, unless that was done a moment ago."""
        with suppress(OSError):  # nothing is there yet
            if time.time() - (self.folder / STUDY).stat().st_mtime < SECONDS_BETWEEN_REFRESHES:
                return
        self.watch(0)

    def now(self) -> tuple[Content, list[Judged]]:
        """Reads all runs and writes both files; what is in them."""
        content = collect(self.plan, self.nodes, self.folder)
        claims = judge_claims(content)
        write_study(content, self.folder)
        write_claims(claims, self.folder)
        return content, claims
