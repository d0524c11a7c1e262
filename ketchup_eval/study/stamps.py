"""What became of each command of a study: a small file beside its runs, so that a finished study is read in a moment.

RUNS_DIR/NAME/.study/<node>.json     the command, and whether it was started, is done, or failed
RUNS_DIR/NAME/logs/<node>.log        all that it said
"""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from ketchup.errors import RunError
from ketchup.files import read_kept_json, write_kept_json
from ketchup.kinds import WHOLE, Kinds, misfit
from ketchup.redaction import redacted_command
from ketchup.runs import Run
from ketchup_eval.study.node import Node, deciding

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
    """Keeps what became of a node; no key or password of its command is kept."""
    kept = replace(stamp, words=tuple(redacted_command(stamp.words)))
    write_kept_json(stamp_path(folder, name), asdict(kept))


def read_stamps(folder: Path, nodes: Mapping[str, Node]) -> dict[str, Stamp]:
    """The stamps of those nodes that have one.

    Raises `RunError` for a damaged stamp, and for one whose command differs from the plan's in what decides its result:
    what was made by other settings is not taken for the same. A command that ended before its run began made nothing.
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
        old, new = _compared(stamp.words, node.made_by)
        if old != new:
            if stamp.state != "done" and not Run(folder / name).has_manifest():
                continue
            raise RunError(
                f"{folder / name} was made by other settings ({_apart(old, new)}); give the plan another name, or "
                f"delete that run and {path}."
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


def _compared(old: Sequence[str], new: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Of two commands what decides the result, without keys, if they are not the same word by word."""
    return (old, new) if tuple(old) == tuple(new) else (_told(old), _told(new))


def _told(words: Sequence[str]) -> list[str]:
    return redacted_command(deciding(words))


def _apart(old: Sequence[str], new: Sequence[str]) -> str:
    """The first option that differs, with its values in both."""
    before, now = _options(old), _options(new)
    name = next(name for name in {**before, **now} if before.get(name) != now.get(name))
    had, has = (shlex.join(found[name]) if name in found else f"no {name}" for found in (before, now))
    return f"it had {had}, the plan has {has}"


def _options(words: Sequence[str]) -> dict[str, list[str]]:
    """Each option with its values, under its name; what stands before the first under no name."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in words:
        name = word if word.startswith("--") else name
        found.setdefault(name, []).append(word)
    return found
