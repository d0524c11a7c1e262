"""The methods of a study: which stand for LLMR, which for K-step returns, and how two of them compare."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ketchup_eval.stats.seeds import difference_of_means
from ketchup_eval.study.claims.base import Evidence
from ketchup_eval.study.collect import Content, higher_is_better

RETURN = "return"
"""The score that is no task metric."""


def arms(content: Content) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Each student on each task, with its trained methods."""
    trained = [row for row in content["methods"] if "algorithm" in row]
    for task, student in dict.fromkeys((row["task"], row["student"]) for row in trained):
        yield f"{task}: {student}", [row for row in trained if (row["task"], row["student"]) == (task, student)]


def is_k_step(row: Mapping[str, Any]) -> bool:
    """Whether this is a K-step return with K > 1 and no baseline."""
    return row["algorithm"] == "ketchup" and int(row["options"]["k"]) > 1 and not has_baseline(row)


def is_llmr(row: Mapping[str, Any]) -> bool:
    """Whether this is the full return, with whatever baseline."""
    return bool(row["algorithm"] == "llmr" or (row["algorithm"] == "ketchup" and int(row["options"]["k"]) == 1))


def has_baseline(row: Mapping[str, Any]) -> bool:
    """Whether a baseline is subtracted."""
    return bool(row["options"].get("baseline", "none") != "none")


def best_of(
    methods: Sequence[Mapping[str, Any]], fits: Callable[[Mapping[str, Any]], bool]
) -> Mapping[str, Any] | None:
    """Of those that fit, the one that validated best."""
    fitting = [row for row in methods if fits(row) and row["best_validation"] is not None]
    return max(fitting, key=lambda row: float(row["best_validation"]), default=None)


def task_scores(methods: Sequence[Mapping[str, Any]]) -> list[str]:
    """The task metrics that the methods were scored by."""
    return list(dict.fromkeys(name for row in methods for name in row["scores"] if name != RETURN))


def contrast(
    place: str, score: str, one: Mapping[str, Any] | None, other: Mapping[str, Any] | None
) -> Iterator[Evidence]:
    """How much better one method's seeds are than another's; nothing where either has fewer than two seeds."""
    if one is None or other is None:
        return
    sides = [row["by_seed"].get(score, []) for row in (other, one)]
    worse, better = ([sign(score) * value for value in side] for side in sides)
    what = f"{score}: {one['method']} better than {other['method']} by"
    yield from more(place, what, worse, better, (*one["runs"], *other["runs"]))


def sign(score: str) -> int:
    """1 for a score that is better where it is higher, else -1."""
    return 1 if higher_is_better(score) else -1


def more(
    place: str, what: str, less: Sequence[float], more: Sequence[float], sources: tuple[str, ...]
) -> Iterator[Evidence]:
    """How much `more` there is of a number a run; nothing where either side has fewer than two runs."""
    if min(len(less), len(more)) > 1:
        found = difference_of_means(less, more)
        yield Evidence(place, what, found.difference, found.p, sources)
