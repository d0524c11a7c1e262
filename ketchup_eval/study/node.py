"""A command of a study, of one of these kinds:

init   a student of some layers            start  its pre-distillation          teacher  a fine-tuned teacher
tune   a short training at one rate        rate   the choice among them         train    one method, one seed
variance, evaluate, compare, judge         what is measured                     predict  a ranking, before training
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ketchup_eval.study.ranking import Ranking

KINDS = ("teacher", "init", "start", "predict", "tune", "rate", "train", "variance", "evaluate", "compare", "judge")
HOW = {
    **dict.fromkeys(("--base-url", "--teacher-url", "--serve-python", "--serve-options"), 1),
    **dict.fromkeys(("--concurrency", "--attempts", "--timeout", "--device", "--teacher-memory"), 1),
    **dict.fromkeys(("--processes", "--workers", "--threads"), 1),
    **dict.fromkeys(("--retry-unparsed", "--html"), 0),
}
"""Options that say where and how a command works, and decide no result: a study goes on with others. Each has so many
values."""


@dataclass(frozen=True)
class Node:
    """A command of the study. `words` follow `ketchup`; `needs` are names of nodes.

    `rate` is the file with the learning rate that was chosen for it, which is handed on as `--learning-rate`.
    `labels` say what the result belongs to: task, teacher, student, method, seed. `trials` are the runs that a choice
    of a rate is made among, by rate; `ranking` is what is to be frozen. `threads` says whether the command takes
    `--threads`.
    """

    name: str
    kind: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    labels: Mapping[str, Any] = field(default_factory=dict)
    rate: Path | None = None
    trials: Mapping[float, Path] = field(default_factory=dict)
    ranking: Ranking | None = None
    threads: bool = True

    @property
    def made_by(self) -> tuple[str, ...]:
        """What its result is made by: the words, and of a choice what it is made among."""
        among = ("--learning-rate", *map("{:g}".format, self.trials)) if self.trials else ()
        return (*self.words, *among)


def deciding(words: Sequence[str]) -> list[str]:
    """The words of a command without those that decide no result."""
    kept: list[str] = []
    skip = 0
    for word in words:
        if skip:
            skip -= 1
        elif word in HOW:
            skip = HOW[word]
        else:
            kept.append(word)
    return kept
