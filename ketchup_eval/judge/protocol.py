"""The four-way swapped comparison: {which candidate is shown first} x {which one is called "A"}.

A swap of the order alone keeps "A is shown first", so that a judge's taste for a place and its taste for a letter are
one number, and may cancel. The four variants are a 2 x 2 design in which either has an effect of its own.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ketchup.hashes import content_hash
from ketchup_eval.judge.judge_settings import ReplySettings
from ketchup_eval.judge.replies import Id

VARIANTS = ((True, True), (True, False), (False, True), (False, False))
"""(a is shown first, a is called "A"), in the order of the columns of every array of votes."""


@dataclass(frozen=True)
class Pair:
    """Two systems' outputs for one source."""

    item: str
    system: str
    """Which of the systems `a` this is; all are compared with the same `b`."""
    source: str
    a: str
    b: str

    @property
    def identical(self) -> bool:
        """Whether there is nothing to compare, but for space at the ends."""
        return self.a.strip() == self.b.strip()


@dataclass(frozen=True)
class Query:
    """One question to the judge."""

    criterion: str
    template: str
    source: str
    first: str
    second: str
    first_id: Id

    @property
    def prompt(self) -> str:
        """What the judge reads."""
        return self.template.format(
            source=self.source,
            first_id=self.first_id,
            first=self.first,
            second_id="B" if self.first_id == "A" else "A",
            second=self.second,
        )

    def key(self, sampling: ReplySettings, repeat: int = 0) -> str:
        """What tells this question from any other: judge, sampling settings, criterion, template, texts and labels.

        Neither ids nor names of systems are in it: the same question has one answer, whoever asks. `repeat` counts the
        times it is asked again on purpose.
        """
        texts = [self.criterion, self.template, self.source, self.first, self.second]
        parts = [_hash(sampling), *map(_hash, texts), self.first_id, str(repeat)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:24]


@lru_cache(maxsize=4096)
def _hash(part: ReplySettings | str) -> str:
    """The hash of settings or of a text, which dozens of keys have in common."""
    if isinstance(part, str):
        return hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()
    return content_hash(part.as_key())


@dataclass(frozen=True)
class Question:
    """A query in its place: the pair it is about, and which variant of the four it is."""

    pair: Pair
    criterion: str
    variant: int
    query: Query

    def vote(self, preferred: Id | None) -> int | None:
        """+1 if the reply prefers `a`, -1 if it prefers `b`, `None` if it is unparsed."""
        if preferred is None:
            return None
        return 1 if (preferred == "A") == VARIANTS[self.variant][1] else -1


def query_of(pair: Pair, criterion: str, template: str, variant: int) -> Query:
    """The query of one variant of a pair."""
    a_first, a_is_a = VARIANTS[variant]
    first, second = (pair.a, pair.b) if a_first else (pair.b, pair.a)
    return Query(criterion, template, pair.source, first, second, "A" if a_first == a_is_a else "B")


def questions(pairs: Sequence[Pair], templates: Mapping[str, str]) -> list[Question]:
    """Four questions per pair and criterion, in the order they are best asked in; identical outputs are left out.

    By criterion, then by item, and within an item by prompt, as sorted text has the longest shared beginnings side by
    side: a server that caches prefixes reads each source once, and each first candidate once.
    """
    by_item: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_item.setdefault(pair.item, []).extend([] if pair.identical else [pair])
    asked = []
    for criterion, template in templates.items():
        for group in by_item.values():
            about_item = [
                Question(pair, criterion, variant, query_of(pair, criterion, template, variant))
                for pair in group
                for variant in range(len(VARIANTS))
            ]
            asked += sorted(about_item, key=lambda question: question.query.prompt)
    return asked


def sample_ids(ids: Sequence[str], limit: int | None, seed: int) -> list[str]:
    """The ids in the order of a hash of seed and id, at most `limit` of them.

    Which ids are drawn depends on neither the order nor the number of the others, and samples of one seed nest.
    """
    return sorted(ids, key=lambda id: hashlib.sha256(f"{seed}\n{id}".encode()).digest())[:limit]


def make_pairs(
    sources: Mapping[str, str],
    systems: Mapping[str, Mapping[str, str]],
    baseline: Mapping[str, str],
    ids: Sequence[str],
) -> list[Pair]:
    """The pairs of each id: every system's text beside the baseline's."""
    return [Pair(id, name, sources[id], texts[id], baseline[id]) for id in ids for name, texts in systems.items()]
