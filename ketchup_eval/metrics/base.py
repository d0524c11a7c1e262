"""What a metric is: statistics of each segment, and scores that follow from their sums."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ketchup.errors import UsageError
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

    def of_segments(self, statistics: Array) -> Array:
        """The score [n] of each segment alone, from `statistics[n, m]`."""
        return self.segment_rule(statistics) if self.segment_rule else self.rule(statistics, 1)


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
