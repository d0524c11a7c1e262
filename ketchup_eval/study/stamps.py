"""What became of each command of a study: a small file beside its runs, so that a finished study is read in a moment.

RUNS_DIR/NAME/.study/<node>.json     the command, and whether it was started, is done, or failed
RUNS_DIR/NAME/logs/<node>.log        all that it said
"""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ketchup.errors import RunError
from ketchup.files import read_kept_json, write_kept_json
from ketchup.kinds import WHOLE, Kinds, misfit
from ketchup_eval.study.node import Node

FOLDER = ".study"
LOGS = "logs"
State = Literal["started", "done", "failed"]
KINDS: Kinds = {"state": str, "words": list, "seconds": float, "started": str, "code": WHOLE}


@dataclass(frozen=True)
class Stamp:
    """How a command ended: its exit `code`, and the `seconds` of all its starts together."""

    state: State
    words: tuple[str, ...]
    seconds: float
    started: str
    code: int | None = None


def stamp_path(folder: Path, name: str) -> Path:
    """Where the stamp of a node is."""
    return folder / FOLDER / f"{name}.json"


def log_path(folder: Path, name: str) -> Path:
    """Where a node's output goes."""
    return folder / LOGS / f"{name}.log"


def write_stamp(folder: Path, name: str, stamp: Stamp) -> None:
    """Keeps what became of a node."""
    write_kept_json(stamp_path(folder, name), asdict(stamp))


def read_stamps(folder: Path, nodes: Mapping[str, Node]) -> dict[str, Stamp]:
    """The stamps of those nodes that have one.

    Raises `RunError` for a damaged stamp, and for one whose command differs from the plan's: what was made by other
    settings is not taken for the same.
    """
    found = {}
    for name, node in nodes.items():
        path = stamp_path(folder, name)
        if not path.exists():
            continue
        content = read_kept_json(path, "delete it, and the command is run again")
        wrong = misfit(content, KINDS)
        if wrong:
            raise RunError(f"{path} is no stamp of a command, as {wrong}; delete it, and the command is run again.")
        stamp = Stamp(**{**{key: content[key] for key in KINDS}, "words": tuple(content["words"])})
        if stamp.words != node.made_by:
            raise RunError(
                f"{folder / name} was made by other settings ({_apart(stamp.words, node.made_by)}); give the plan "
                f"another name, or delete that run and {path}."
            )
        found[name] = stamp
    return found


def done_as_planned(folder: Path, nodes: Mapping[str, Node]) -> set[str]:
    """Those that are done by the very command that the plan has now; a stamp that cannot be read is none."""
    found = set()
    for name, node in nodes.items():
        with suppress(RunError):
            if any(stamp.state == "done" for stamp in read_stamps(folder, {name: node}).values()):
                found.add(name)
    return found


def _apart(old: Sequence[str], new: Sequence[str]) -> str:
    """The first words that differ, with the option that they belong to."""
    at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max((i for i in range(at + 1) if i < len(old) and old[i].startswith("--")), default=at)
    before, now = (shlex.join(words[start : at + 2]) or "nothing" for words in (old, new))
    return f"it had {before}, the plan has {now}"
