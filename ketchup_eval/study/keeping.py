"""Writes what a study found while it still runs, so that it can be watched."""

import time
from collections.abc import Mapping
from pathlib import Path

from ketchup_eval.study.claims import judge_claims, write_claims
from ketchup_eval.study.collect import Content, collect, write_study
from ketchup_eval.study.graph import Node
from ketchup_eval.study.plan import Plan
from ketchup_eval.study.running import Outcome

SECONDS_BETWEEN = 20.0


class Keeper:
    """Keeps `study.json` and `claims.json` of a study's folder up to date."""

    def __init__(self, plan: Plan, nodes: Mapping[str, Node], folder: Path) -> None:
        self.plan, self.nodes, self.folder = plan, nodes, folder
        self.last = 0.0

    def now_and_then(self, outcome: Outcome) -> None:  # noqa: ARG002
        """After a command that ended, unless it was just done."""
        if time.monotonic() - self.last > SECONDS_BETWEEN:
            self.now()

    def now(self) -> Content:
        """Reads all runs and writes both files; what `study.json` holds."""
        content = collect(self.plan, self.nodes, self.folder)
        write_study(content, self.folder)
        write_claims(judge_claims(content), self.folder)
        self.last = time.monotonic()
        return content
