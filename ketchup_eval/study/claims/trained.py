"""Claims about what training reaches: Fig. 1, Fig. 3 and Table 1."""

from collections.abc import Iterator, Sequence
from itertools import product

from ketchup_eval.study.claims.arms import (
    arms,
    best_of,
    contrast,
    has_baseline,
    is_k_step,
    is_llmr,
    more,
    task_scores,
)
from ketchup_eval.study.claims.base import Evidence
from ketchup_eval.study.collect import Content


def return_is_higher(content: Content) -> Iterator[Evidence]:
    """The return on test outputs: the best K against the best LLMR."""
    for place, methods in arms(content):
        yield from contrast(place, "return", best_of(methods, is_k_step), best_of(methods, is_llmr))


def metrics_are_better(content: Content) -> Iterator[Evidence]:
    """Each task metric: the best K against the best LLMR."""
    for place, methods in arms(content):
        for score in task_scores(methods):
            yield from contrast(place, score, best_of(methods, is_k_step), best_of(methods, is_llmr))


def moderate_k_is_best(content: Content) -> Iterator[Evidence]:
    """Each task metric: the best of the moderate K against K = 1 and the largest."""
    for place, methods in arms(content):
        by_k = {int(row["options"]["k"]): row for row in methods if is_k_step(row)}
        largest = max(by_k, default=0)
        best = best_of([row for k, row in by_k.items() if k < largest], is_k_step)
        for other in (best_of(methods, lambda row: is_llmr(row) and not has_baseline(row)), by_k.get(largest)):
            for score in task_scores(methods):
                yield from contrast(place, score, best, other)


def symmetric_is_better(content: Content) -> Iterator[Evidence]:
    """Each task metric: JS and TVD against SeqKD and KL."""
    for place, methods in arms(content):
        named = {row["algorithm"]: row for row in methods}
        for symmetric, asymmetric in product(("js", "tvd"), ("seqkd", "kl")):
            for score in task_scores(methods):
                yield from contrast(place, score, named.get(symmetric), named.get(asymmetric))


def llmr_is_unstable(content: Content) -> Iterator[Evidence]:
    """By the largest fall of the validation return from a peak, as a share of the range that the run went through."""
    falls: dict[tuple[str, str, str], dict[str, float]] = {}
    for run in content["runs"]:
        kind = "k-step" if is_k_step(run) else "llmr" if is_llmr(run) and not has_baseline(run) else None
        fall = _largest_fall([row["return"] for row in run["curve"] if "return" in row])
        if kind and fall is not None:
            falls.setdefault((run["task"], run["student"], kind), {})[run["run"]] = fall
    for task in dict.fromkeys(task for task, _, _ in falls):
        sizes = [name for name in content["plan"]["students"] if (task, name, "llmr") in falls]
        if not sizes:
            continue
        largest = falls[task, sizes[-1], "llmr"]
        place, what = f"{task}: {sizes[-1]}", "largest fall of the return under LLMR minus"
        others = [("that under K-step returns", falls.get((task, sizes[-1], "k-step"), {}))]
        if len(sizes) > 1:
            others.append((f"that of {sizes[0]}", falls[task, sizes[0], "llmr"]))
        for said, less in others:
            sources = (*less, *largest)
            yield from more(place, f"{what} {said}", list(less.values()), list(largest.values()), sources)


def _largest_fall(values: Sequence[float]) -> float | None:
    if len(values) < 3 or max(values) == min(values):
        return None
    peaks = [max(values[: at + 1]) for at in range(len(values))]
    return max(peak - value for peak, value in zip(peaks, values, strict=True)) / (max(values) - min(values))
