"""How long a study will take: from commands of it that are done, and where there are none, from a short probe."""

import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ketchup_eval.study.node import Node
from ketchup_eval.study.probe import Probe
from ketchup_eval.study.running import PROGRAM
from ketchup_eval.study.stamps import Stamp

CHEAP = 10.0
"""Seconds of a command that only starts, reads and writes."""
CHEAP_KINDS = ("init", "predict", "rate", "compare")


@dataclass(frozen=True)
class Estimate:
    """Seconds of what is left to do, one command after the other, and what they rest on.

    `unknown` are commands of which nothing is known; their time is no part of the seconds.
    """

    seconds: float
    basis: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def estimate(
    chosen: Mapping[str, Node],
    stamps: Mapping[str, Stamp],
    nodes: Mapping[str, Node],
    folder: Path,
    *,
    probe: bool,
    program: Sequence[str] = PROGRAM,
) -> Estimate:
    """The time of the chosen nodes that are not done: by kind and task, as those that are done took at the median.

    With `probe`, where none is done one of them is probed. What only starts, reads and writes is taken for
    `CHEAP`.
    """
    seconds, basis, unknown = 0.0, list[str](), list[str]()
    done = frozenset(name for name, stamp in stamps.items() if stamp.state == "done")
    with tempfile.TemporaryDirectory() as scratch:
        prober = Probe(nodes, done, folder, Path(scratch), program)
        for (kind, task), group in _groups(chosen.values()).items():
            left = [node for node in group if node.name not in done]
            if not left:
                continue
            took = [stamps[node.name].seconds for node in group if node.name in done]
            found = (median(took), f"as {len(took)} done took") if took else None
            if found is None and probe:
                found = _probed(prober, left)
            if found is None and kind in CHEAP_KINDS:
                found = CHEAP, "a guess"
            what = f"{len(left)} {kind}{f' on {task}' if task else ''}"
            if found is None:
                unknown.append(what)
            else:
                seconds += len(left) * found[0]
                basis.append(f"{what} at {found[0]:.0f} s ({found[1]})")
    return Estimate(seconds, tuple(basis), tuple(unknown))


def _groups(nodes: Iterable[Node]) -> dict[tuple[str, str | None], list[Node]]:
    found: dict[tuple[str, str | None], list[Node]] = {}
    for node in nodes:
        task = None if node.kind in CHEAP_KINDS else node.labels.get("task")
        found.setdefault((node.kind, task), []).append(node)
    return found


def _probed(prober: Probe, nodes: Sequence[Node]) -> tuple[float, str] | None:
    """By the method in the middle of the student in the middle: the first ones of a plan mostly need no rollouts."""
    middle = _middle(nodes)
    if not prober.can(middle):
        return None
    sys.stderr.write(f"probe: {middle.name}\n")
    found = prober.seconds(middle)
    return None if found is None else (found, f"by a probe of {middle.name}")


def _middle(nodes: Sequence[Node]) -> Node:
    for label in ("student", "method"):
        values = list(dict.fromkeys(node.labels[label] for node in nodes if label in node.labels))
        if values:
            nodes = [node for node in nodes if node.labels.get(label) == values[len(values) // 2]]
    return nodes[0]
