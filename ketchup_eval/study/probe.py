"""How long a command takes, from a short piece of it in a folder that is thrown away.

A training goes over a few optimiser steps, whose log tells the time of a step, of a validation and of all that comes
before; a measurement goes over few and more inputs, and takes time to be a line in them. Models that a command needs
and that are not there yet are made in short first: a student of some layers is as slow untrained. What is left out is
what all runs of a task share, the teacher's outputs for all rows.
"""

import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from ketchup.errors import KetchupError
from ketchup.runs import Run
from ketchup.training.metrics import read_metrics
from ketchup_eval.study.node import Node
from ketchup_eval.study.running import words_of

STEPS = 3
INPUTS = (3, 6)
"""Fewer than three have no gradient."""
ROWS = 64
"""Training rows of a probe, so that no teacher writes outputs for all."""
TRAINING = ("train", "tune", "start", "teacher")
PATTERNS = {
    "train": re.compile(r"([\d,]+) optimiser steps"),
    "variance": re.compile(r"([\d,]+) inputs x"),
    "evaluate": re.compile(r"([\d,]+) inputs"),
}
"""What the dry run of a command says of its size."""
EVERY = re.compile(r"--eval-every (\d+)")
EVERY_DEFAULT = 100
LEFT_OUT = {"--epochs", "--milestones", "--warmup-steps", "--eval-every", "--save-every"}


class Probe:
    """Probes commands of one study; what it makes for one serves the next. `done` nodes have their models."""

    def __init__(
        self, nodes: Mapping[str, Node], done: frozenset[str], folder: Path, scratch: Path, program: Sequence[str]
    ) -> None:
        self.nodes, self.done, self.folder, self.scratch, self.program = nodes, done, folder, scratch, program
        self.made: dict[str, bool] = {}

    def can(self, node: Node) -> bool:
        """Whether a command of this kind can be probed."""
        return node.kind in (*TRAINING, "variance", "evaluate")

    def seconds(self, node: Node) -> float | None:
        """Seconds of the whole command; `None` for one that cannot run in short."""
        runs = 1
        if node.kind == "evaluate" and node.labels["method"] not in ("raw", "start", "teacher"):
            node, runs = self._alike(node)
        if not all(self._there(name) for name in node.needs):
            return None
        whole = self._size(node)
        if whole is None:
            return None
        found = self._training(node, whole) if node.kind in TRAINING else self._measurement(node, whole)
        return None if found is None else runs * found

    def _alike(self, node: Node) -> tuple[Node, int]:
        """An evaluation of trained runs is as many of one model, the student as it begins."""
        mine = {key: node.labels.get(key) for key in ("task", "student")}
        start = {**mine, "method": "start"}
        found = next((one for one in self.nodes.values() if one.kind == "evaluate" and one.labels == start), None)
        return (found, len(node.needs)) if found else (node, 1)

    def _there(self, name: str) -> bool:
        """Whether the model of a node is there, made in short if need be."""
        node = self.nodes[name]
        if name in self.done or node.kind not in ("init", "start", "teacher"):
            return True
        if name not in self.made:
            ready = all(self._there(one) for one in node.needs)
            self.made[name] = ready and self._run(self._short(node, 1, self.scratch)) is not None
        return self.made[name]

    def _size(self, node: Node) -> int | None:
        words = [*self._moved(node), "--dry-run"]
        said = subprocess.run([*self.program, *words], capture_output=True, text=True, check=False).stdout
        found = PATTERNS[node.words[0]].search(said)
        return int(found[1].replace(",", "")) if found else None

    def _training(self, node: Node, whole: int) -> float | None:
        folder = self.scratch / "probes"
        took = self._run(self._short(node, STEPS, folder))
        if took is None:
            return None
        try:
            logged = [sum(row.get("seconds", {}).values()) for row in read_metrics(Run(folder / node.name))]
        except KetchupError:
            return None
        if len(logged) <= STEPS:
            return None
        validation, step = logged[0], median(logged[1:-1])  # the last step is validated too
        every = EVERY.search(" ".join(node.words))
        times = 1 + -(-whole // (int(every[1]) if every else EVERY_DEFAULT))
        return took - sum(logged) + times * validation + whole * step

    def _measurement(self, node: Node, whole: int) -> float | None:
        times = [self._run(self._short(node, size, self.scratch / str(size))) for size in INPUTS]
        if times[0] is None or times[1] is None:
            return None
        slope = max(0.0, (times[1] - times[0]) / (INPUTS[1] - INPUTS[0]))
        return max(times[0] + slope * (whole - INPUTS[0]), 0.0)

    def _run(self, words: Sequence[str]) -> float | None:
        """Seconds of a command, `None` where it fails."""
        began = time.monotonic()
        ended = subprocess.run([*self.program, *words], capture_output=True, check=False)
        return None if ended.returncode else time.monotonic() - began

    def _short(self, node: Node, size: int, runs: Path) -> list[str]:
        """The command over `size` steps or inputs, with results in another folder."""
        if node.kind == "init":
            return self._moved(node)
        own = {"--limit": str(size), "--runs-dir": str(runs)}
        if node.kind in TRAINING:
            own |= {"--steps": str(size), "--limit": str(ROWS)}
        kept: list[str] = []
        skip = False
        for word in self._moved(node):
            if word.startswith("--"):
                skip = word in own or word in LEFT_OUT
            if not skip:
                kept.append(word)
        return [*kept, *(part for option in own.items() for part in option)]

    def _moved(self, node: Node) -> list[str]:
        """The words of the command, with the models that were made in short in place of those that are not there."""
        words = list(words_of(node, None)) if node.rate is None or node.rate.exists() else list(node.words)
        places = {f"{self.folder / name}": f"{self.scratch / name}" for name in self.made}
        own = f"{self.folder / node.name}"
        if node.kind == "init":
            places[own] = f"{self.scratch / node.name}"
        for at, word in enumerate(words):
            for old, new in places.items():
                if word == old or word.startswith(f"{old}/"):
                    words[at] = new + word.removeprefix(old)
        return words
