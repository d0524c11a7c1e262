"""The verdict store: each reply on disk before anything else happens with it.

`verdicts.jsonl` has one row a reply, appended whole. A row is found again by its key, so a run goes on where it
stopped, and other runs that ask the same question find the answer. A failed call leaves no row, hence never counts as
done. Which ID a reply prefers is read anew each time, so that all verdicts of a result come from one parser.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import Any, Literal

from ketchup.errors import RunError
from ketchup.files import append_jsonl, read_jsonl
from ketchup.kinds import NUMBER, TEXT, Kinds, misfit
from ketchup_eval.judge.completions import is_cut, is_failure, is_whole
from ketchup_eval.judge.replies import Id, preferred_id

VERDICTS = "verdicts.jsonl"
State = Literal["parsed", "unparsed", "cut", "empty", "too_long", "refused"]
"""`cut`: the limit on tokens ended the reply before it was at its end; `too_long`: the prompt did not fit into the
model; `refused`: the server did not take it for another reason."""
OF_A_ROW: Kinds = {
    **dict.fromkeys(("key", "reply"), str),
    **dict.fromkeys(("finish_reason", "server_model"), TEXT),
    **dict.fromkeys(("too_long", "refused"), (bool, NoneType)),
    "probability_of_a": NUMBER,
    "adapted": (dict, NoneType),
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """A reply, or the server's refusal of a prompt in its words, and how it came about.

    `usage` are the server's counts of tokens, `seconds` the time of the attempt that succeeded, `server_model` what the
    server calls its model. `probability_of_a` is that of the ID "A" where the reply names its choice, if
    log-probabilities were asked for. `adapted` are the parameters that the server does not take, each with the name
    under which it was sent instead, or `None` if it was left out.
    """

    key: str
    reply: str
    finish_reason: str | None = None
    too_long: bool = False
    usage: Mapping[str, int | None] = field(default_factory=dict)
    seconds: float | None = None
    attempts: int = 1
    server_model: str | None = None
    probability_of_a: float | None = None
    refused: bool = False
    adapted: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def is_refusal(self) -> bool:
        """Whether the server took the prompt not at all."""
        return self.too_long or self.refused

    @cached_property
    def preferred(self) -> Id | None:
        """The ID that the reply prefers; `None` if it is unparsed."""
        if self.is_refusal:
            return None
        return preferred_id(self.reply, cut=is_cut(self.finish_reason), whole=is_whole(self.finish_reason))

    @property
    def state(self) -> State:
        """Whether the reply has a choice, or why it has none."""
        if self.is_refusal:
            return "too_long" if self.too_long else "refused"
        if self.preferred is not None:
            return "parsed"
        if is_cut(self.finish_reason):
            return "cut"
        return "unparsed" if self.reply.strip() else "empty"


class VerdictStore:
    """All verdicts of a folder by key; hold the folder's `run_lock` while adding to it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / VERDICTS
        rows, torn = read_jsonl(self.path)
        if torn:
            _log.warning("%s: a torn last line is dropped; its question is asked again.", self.path)
        self.replies: dict[str, int] = {}
        """How many replies each key has had."""
        self.verdicts: dict[str, Verdict] = {}
        for number, row in enumerate(rows, start=1):
            self._take(_verdict(row, f"{self.path} line {number}"))

    def add(self, verdict: Verdict, about: Mapping[str, Any]) -> None:
        """Append a verdict with what a reader of the file wants to know of its question."""
        row = {name: value for name, value in asdict(verdict).items() if name != "key"}
        append_jsonl(self.path, {"key": verdict.key, "preferred": verdict.preferred, **about, **row})
        self._take(verdict)

    def _take(self, verdict: Verdict) -> None:
        """The last parsed reply of a key wins, else the last of all. One that a fault ended is none."""
        if is_failure(verdict.finish_reason):
            return
        self.replies[verdict.key] = self.replies.get(verdict.key, 0) + 1
        earlier = self.verdicts.get(verdict.key)
        if earlier is None or earlier.preferred is None or verdict.preferred is not None:
            self.verdicts[verdict.key] = verdict


def _verdict(row: Mapping[str, Any], place: str) -> Verdict:
    fields = {name: row[name] for name in Verdict.__dataclass_fields__ if row.get(name) is not None}
    if wrong := misfit(fields, OF_A_ROW):
        raise RunError(f"{place} is no verdict, as {wrong}; remove that line and run again.")
    return Verdict(**fields)
