"""What a metric is: statistics of each segment, and scores that follow from their sums."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ketchup_eval.stats.bootstrap import Array

Kind = Literal["reasoning", "summarization", "translation"]
Nature = Literal["corpus", "mean", "share"]
"""What decides test and interval: `corpus` a function of sums, `mean` that of the items, `share` of items (0 or 1)."""


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
    """A metric: `statistics(texts, references)` is an array [n, m], each row from its own segment alone.

    `signature()` names library, version and settings, so that two numbers with one signature mean the same. `kinds` are
    the kinds of task that it fits, `default_for` those whose published numbers it is. `statistics` goes to other
    processes, so it is a function of a module, or a `partial` of one. `unread(texts)` says in a sentence what of the
    texts the metric does not read; `None` where that is too little to be seen in a score.
    """

    name: str
    kinds: frozenset[Kind]
    statistics: Callable[[Sequence[str], Sequence[str]], Array]
    scales: tuple[Scale, ...]
    signature: Callable[[], str]
    default_for: frozenset[Kind] = frozenset()
    unread: Callable[[Iterable[str]], str | None] = lambda _: None


def mean_of(column: int, factor: float = 1.0) -> Callable[[Array, int], Array]:
    """The rule "mean over segments of one column", times a factor."""

    def rule(sums: Array, n: int) -> Array:
        mean: Array = factor * sums[..., column] / n
        return mean

    return rule
