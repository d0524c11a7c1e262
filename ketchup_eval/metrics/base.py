"""What a metric is: statistics of each segment, and scores that follow from their sums."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from ketchup.errors import DataError, UsageError
from ketchup.failing import failing
from ketchup.tasks.base import Kind
from ketchup_eval.stats.bootstrap import Array

Nature = Literal["corpus", "mean", "share"]
"""What decides test and interval: `corpus` a function of sums, `mean` that of the items, `share` of items (0 or 1)."""


class Item(NamedTuple):
    """What one output is scored by: the source that it is of, its text, and the data set's own answers, at least one.

    The source is empty where a task or a file of references has none.
    """

    source: str
    prediction: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """One score of a metric: `rule(sums[..., m], n)` takes the summed statistics of n segments to scores [...].

    `segment_rule(statistics[n, m])` gives the scores [n] of segments where the rule for a corpus is of no use for one.
    """

    name: str
    nature: Nature
    rule: Callable[[Array, int], Array]
    higher_is_better: bool = True
    segment_rule: Callable[[Array], Array] | None = None

    def of_sums(self, sums: Array, n: int) -> Array:
        """The scores [...] that `sums[..., m]` of n segments come to; `DataError` where the rule fails."""
        return self._checked(lambda: self.rule(sums, n), sums.shape[:-1])

    def of_segments(self, statistics: Array) -> Array:
        """The score [n] of each segment alone, from `statistics[n, m]`; `DataError` where the rule fails."""
        alone = self.segment_rule or (lambda each: self.rule(each, 1))
        found = self._checked(lambda: alone(statistics), statistics.shape[:-1])
        if self.nature == "share" and not np.isin(found, (0, 100)).all():
            raise DataError(f'The score "{self.name}" is a share, so 0 or 100 for an item; make it a mean.')
        return found

    def _checked(self, work: Callable[[], Array], shape: tuple[int, ...]) -> Array:
        with failing(f'The rule of the score "{self.name}"'):
            found: Array = np.asarray(work(), dtype=float)
        if found.shape != shape:
            raise DataError(
                f'The rule of the score "{self.name}" makes an array {list(found.shape)}, and {list(shape)} is wanted: '
                "statistics are the last axis of sums, which a rule takes away."
            )
        return found


@dataclass(frozen=True)
class Metric:
    """A metric: `statistics(items)` is an array [n, m], each row from its own item alone.

    `signature(references)` names library, version and settings, so that two numbers with one signature mean the same;
    `references` is how many an item has, as sacrebleu says it: "1", "4", or "var" where it varies. `kinds` are
    the kinds of task that it fits, `default_for` those whose published numbers it is. `statistics` goes to other
    processes, so it is a function of a module, or a `partial` of one. `unread(texts)` says in a sentence what of the
    texts the metric does not read; `None` where that is too little to be seen in a score. With `reads_source`, items
    without a source are an error.
    """

    name: str
    kinds: frozenset[Kind]
    statistics: Callable[[Sequence[Item]], Array]
    scales: tuple[Scale, ...]
    signature: Callable[[str], str]
    default_for: frozenset[Kind] = frozenset()
    unread: Callable[[Iterable[str]], str | None] = lambda _: None
    reads_source: bool = False

    def __post_init__(self) -> None:
        for field in ("kinds", "default_for"):
            unknown = set(getattr(self, field)) - set(get_args(Kind))
            if isinstance(getattr(self, field), str) or unknown:
                raise UsageError(f"{field} of the metric {self.name!r} is a set of {', '.join(get_args(Kind))}")
        if not self.scales:
            raise UsageError(f"the metric {self.name!r} has no scales, which make its scores")
        for scale in self.scales:
            if scale.nature not in get_args(Nature):
                raise UsageError(f"the score {scale.name!r} is of the nature {' or '.join(get_args(Nature))}")

    def count(self, items: Sequence[Item]) -> Array:
        """The statistics [n, m] of items; see `counted`."""
        return counted(self.name, self.statistics, items)

    def sign(self, references: str) -> str:
        """The signature; `DataError` where it is none."""
        with failing(f'The signature of the metric "{self.name}"'):
            found = self.signature(references)
        if not isinstance(found, str) or not found:
            raise DataError(f'The signature of the metric "{self.name}" is {found!r}; make it a text.')
        return found


def counted(name: str, statistics: Callable[[Sequence[Item]], Array], items: Sequence[Item]) -> Array:
    """A metric's statistics [n, m] of items; `DataError` where there are none for an item, or none that is a number."""
    called = f'The metric "{name}"'
    with failing(called):
        found: Array = np.asarray(statistics(items))
    if found.ndim != 2 or len(found) != len(items) or not found.shape[1]:
        raise DataError(
            f"{called} gives an array {list(found.shape)} for {len(items):,} items; give [{len(items)}, m], a row of "
            "statistics for each."
        )
    if found.dtype.kind not in "biuf":
        raise DataError(f"{called} gives {found.dtype.type.__name__} for statistics; give numbers.")
    wrong = ~np.isfinite(found).all(axis=1)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{called} gives {found[first].tolist()} for the output {items[first].prediction[:40]!r}, and no "
            f"number for {int(wrong.sum()):,} of {len(items):,}; say by a number what an output is worth "
            "that it cannot score."
        )
    return found


def check_sources(metric: Metric, items: Sequence[Item]) -> None:
    """Raises `UsageError` where a metric reads sources and an item has none."""
    if metric.reads_source and not all(item.source.strip() for item in items):
        raise UsageError(
            f'The metric "{metric.name}" reads sources, and not every item has one; name rows by --task or --data.'
        )


def references_of(items: Sequence[Item]) -> str:
    """How many references an item has, as signatures say it: "1", "4", or "var" where it varies."""
    counts = {len(item.references) for item in items} or {1}
    return str(*counts) if len(counts) == 1 else "var"


def nrefs(references: str, rule: str) -> str:
    """How a signature begins: the number of references, and what is done with several."""
    return "nrefs:1" if references == "1" else f"nrefs:{references}|refs:{rule}"


def mean_of(column: int, factor: float = 1.0) -> Callable[[Array, int], Array]:
    """The rule "mean over segments of one column", times a factor."""

    def rule(sums: Array, n: int) -> Array:
        mean: Array = factor * sums[..., column] / n
        return mean

    return rule
