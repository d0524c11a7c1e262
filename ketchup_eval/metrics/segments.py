"""Statistics of all segments, on one core or several."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from ketchup.progress import progress
from ketchup_eval.metrics.base import Metric
from ketchup_eval.stats.bootstrap import Array

CHUNK = 250
"""Segments of one piece of work."""


def segment_statistics(
    metrics: Sequence[Metric], texts: Sequence[str], references: Sequence[str], workers: int = 1
) -> dict[str, Array]:
    """Each metric's statistics [n, m] by its name. The number of `workers` changes nothing but the time."""
    parts: dict[str, list[Array]] = {metric.name: [] for metric in metrics}
    works = [
        (metric.name, list(texts[start : start + CHUNK]), list(references[start : start + CHUNK]))
        for metric in metrics
        for start in range(0, len(texts), CHUNK)
    ]
    with progress("score", total=len(works) * CHUNK, unit="segments") as bar:
        if workers == 1 or len(works) == 1:
            for metric in metrics:
                for name, ours, theirs in works:
                    if name == metric.name:
                        parts[name].append(metric.statistics(ours, theirs))
                        bar.advance(CHUNK, note=name)
        else:
            # A fork of a process with torch's threads may hang; a fresh process imports the metrics only.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(min(workers, len(works)), mp_context=context) as pool:
                for (name, *_), statistics in zip(works, pool.map(_work, works), strict=True):
                    parts[name].append(statistics)
                    bar.advance(CHUNK, note=name)
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _work(work: tuple[str, list[str], list[str]]) -> Array:
    from ketchup_eval.metrics import METRICS  # noqa: PLC0415  (the table imports the metrics, not this file)

    name, texts, references = work
    return METRICS[name].statistics(texts, references)
