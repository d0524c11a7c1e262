"""Statistics of all segments, on one core or several, and kept beside the predictions that they are of."""

import hashlib
import io
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ketchup.files import atomic_write_bytes
from ketchup.hashes import content_hash
from ketchup.progress import progress
from ketchup_eval.metrics.base import Metric
from ketchup_eval.stats.bootstrap import Array

CHUNK = 250
"""Segments of one piece of work."""

Work = tuple[str, Callable[[Sequence[str], Sequence[str]], Array], Sequence[str], Sequence[str]]
"""A metric's name and function, and what it is to count in."""


def segment_statistics(
    metrics: Sequence[Metric],
    texts: Sequence[str],
    references: Sequence[str],
    workers: int = 1,
    kept: Path | None = None,
) -> dict[str, Array]:
    """Each metric's statistics [n, m] by its name. The number of `workers` changes nothing but the time.

    What the folder `kept` has of the same texts, references and signature is not computed again.
    """
    known = {metric.name: _kept(kept, metric, texts, references) for metric in metrics} if kept else {}
    found = {name: statistics for name, statistics in known.items() if statistics is not None}
    missing = [metric for metric in metrics if metric.name not in found]
    return found | _computed(missing, texts, references, workers) if missing else found


def keep_statistics(
    statistics: Mapping[str, Array],
    metrics: Sequence[Metric],
    texts: Sequence[str],
    references: Sequence[str],
    folder: Path,
) -> None:
    """Writes each metric's statistics for `segment_statistics` to find; they are NumPy's `.npz` files."""
    for metric in metrics:
        content, found = io.BytesIO(), statistics[metric.name]
        np.savez_compressed(content, key=_key(metric, texts, references), sum=_sum(found), statistics=found)
        atomic_write_bytes(folder / f"{metric.name}.npz", content.getvalue())


def _kept(folder: Path, metric: Metric, texts: Sequence[str], references: Sequence[str]) -> Array | None:
    """A file's statistics; `None` if there is none, or it is of something else or damaged: they can be had again."""
    file = folder / f"{metric.name}.npz"
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as content:
            statistics: Array = content["statistics"]
            known = str(content["key"]) == _key(metric, texts, references) and str(content["sum"]) == _sum(statistics)
            return statistics if known else None
    except Exception:  # numpy and zipfile raise too many kinds to list
        return None


def _sum(statistics: Array) -> str:
    """Their hash: a zip file's own checksum is not looked at where a damaged header says that an array is shorter."""
    return hashlib.sha256(np.ascontiguousarray(statistics).tobytes()).hexdigest()


def _key(metric: Metric, texts: Sequence[str], references: Sequence[str]) -> str:
    return content_hash([metric.signature(), list(texts), list(references)])


def _computed(
    metrics: Sequence[Metric], texts: Sequence[str], references: Sequence[str], workers: int
) -> dict[str, Array]:
    parts: dict[str, list[Array]] = {metric.name: [] for metric in metrics}
    works = [
        (metric.name, metric.statistics, texts[start : start + CHUNK], references[start : start + CHUNK])
        for metric in metrics
        for start in range(0, len(texts), CHUNK)
    ]
    with progress("score", total=len(metrics) * len(texts), unit="segments") as bar, _mapping(workers, works) as done:
        for (name, *_), statistics in zip(works, done, strict=True):
            parts[name].append(statistics)
            bar.advance(len(statistics), note=name)
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


@contextmanager
def _mapping(workers: int, works: Sequence[Work]) -> Iterator[Iterable[Array]]:
    """The works' statistics in their order, from this process or from so many others."""
    if workers == 1 or len(works) == 1:
        yield map(_work, works)
        return
    # A fork of a process with torch's threads may hang; a fresh process imports the metrics only.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(works)), mp_context=context) as pool:
        yield pool.map(_work, works)


def _work(work: Work) -> Array:
    _, statistics, texts, references = work
    return statistics(texts, references)
