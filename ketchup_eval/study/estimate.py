"""How long a study will take: from commands of it that are done, and where there are none, from a short probe.

A probe runs a command twice in a folder that is thrown away, over one and three optimiser steps or inputs, and takes
time to be a line in that size. It leaves out what it does not do, as teacher outputs of all rows.
"""

import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ketchup_eval.study.node import Node
from ketchup_eval.study.running import PROGRAM, words_of
from ketchup_eval.study.stamps import Stamp

SIZES = (1, 3)
SIZE_OPTION = {"train": "--steps", "variance": "--limit", "evaluate": "--limit"}
WHOLE = {
    "train": re.compile(r"([\d,]+) optimiser steps"),
    "variance": re.compile(r"([\d,]+) inputs x"),
    "evaluate": re.compile(r"([\d,]+) inputs"),
}
"""What the dry run of a command says of its size."""
SHORTER = {"train": {"--validation-limit": "8"}}
LEFT_OUT = {"--epochs", "--milestones", "--warmup-steps", "--eval-every", "--save-every"}
CHEAP = 10.0
"""Seconds of a command of which nothing is known: mostly the start of Python and its libraries."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of what is left to do, one command after the other, and what they rest on."""

    seconds: float
    basis: tuple[str, ...]


def estimate(
    chosen: Mapping[str, Node], stamps: Mapping[str, Stamp], *, probe: bool, program: Sequence[str] = PROGRAM
) -> Estimate:
    """The time of the chosen nodes that are not done, by kind: as those of the kind that are done took at the median.

    With `probe`, a kind of which none is done is probed by its first node whose models are there.
    """
    seconds, basis = 0.0, []
    done = {name for name, stamp in stamps.items() if stamp.state == "done"}
    for kind in dict.fromkeys(node.kind for node in chosen.values()):
        nodes = [node for node in chosen.values() if node.kind == kind]
        left = [node for node in nodes if node.name not in done]
        took = [stamps[node.name].seconds for node in nodes if node.name in done]
        each: float | None = median(took) if took else None
        word = f"as {len(took)} done took"
        if left and each is None and probe:
            each = next((found for node in left if (found := _probed(node, program)) is not None), None)
            word = "by a probe"
        if left and each is None:
            each, word = CHEAP, "a guess"
        if left and each is not None:
            seconds += len(left) * each
            basis.append(f"{len(left)} {kind} at {each:.0f} s ({word})")
    return Estimate(seconds, tuple(basis))


def _probed(node: Node, program: Sequence[str]) -> float | None:
    """Seconds of the whole command; `None` for one that is not probed, or that cannot run yet."""
    command = node.words[0]
    if command not in SIZE_OPTION or (node.rate is not None and not node.rate.exists()):
        return None
    words = words_of(node, None)
    with tempfile.TemporaryDirectory() as scratch:
        whole = _said(program, [*words, "--dry-run"], WHOLE[command])
        if whole is None:
            return None
        times = []
        for size in SIZES:
            short = _shortened(words, size, Path(scratch) / str(size))
            began = time.monotonic()
            ended = subprocess.run([*program, *short], capture_output=True, check=False)
            if ended.returncode:
                return None
            times.append(time.monotonic() - began)
    slope = max(0.0, (times[1] - times[0]) / (SIZES[1] - SIZES[0]))
    return times[0] + slope * (whole - SIZES[0])


def _said(program: Sequence[str], words: Sequence[str], pattern: re.Pattern[str]) -> int | None:
    said = subprocess.run([*program, *words], capture_output=True, text=True, check=False).stdout
    found = pattern.search(said)
    return int(found[1].replace(",", "")) if found else None


def _shortened(words: Sequence[str], size: int, folder: Path) -> list[str]:
    """The command over `size` steps or inputs, with results in another folder."""
    command = words[0]
    own = {SIZE_OPTION[command]: str(size), "--runs-dir": str(folder), **SHORTER.get(command, {})}
    kept: list[str] = []
    skip = False
    for word in words:
        if word.startswith("--"):
            skip = word in own or word in LEFT_OUT
        if not skip:
            kept.append(word)
    return [*kept, *(part for option in own.items() for part in option)]
