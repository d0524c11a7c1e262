"""Statistics of all segments, on one core or several, and kept beside the predictions."""

import hashlib
import io
import multiprocessing
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ketchup.errors import DataError, UsageError
from ketchup.files import atomic_write_bytes
from ketchup.hashes import content_hash
from ketchup.plugins import LOADED, load_plugins
from ketchup.progress import progress
from ketchup_eval.metrics.base import Item, Metric, check_sources, counted, references_of
from ketchup_eval.stats.bootstrap import Array

CHUNK = 250
"""Segments of one piece of work."""

Work = tuple[str, Callable[[Sequence[Item]], Array], Sequence[Item]]
"""A metric's name and what counts for it, and the items."""


def segment_statistics(
    metrics: Sequence[Metric],
    items: Sequence[Item],
    workers: int = 1,
    kept: Path | None = None,
) -> dict[str, Array]:
    """Each metric's statistics [n, m] by its name. The number of `workers` changes nothing but the time.

    What the folder `kept` has of the same items and signature is not computed again.
    """
    for metric in metrics:
        check_sources(metric, items)
    known = {metric.name: _kept(kept, metric, items) for metric in metrics} if kept else {}
    found = {name: statistics for name, statistics in known.items() if statistics is not None}
    missing = [metric for metric in metrics if metric.name not in found]
    return found | _computed(missing, items, workers) if missing else found


def keep_statistics(
    statistics: Mapping[str, Array],
    metrics: Sequence[Metric],
    items: Sequence[Item],
    folder: Path,
) -> None:
    """Writes each metric's statistics for `segment_statistics` to find; they are NumPy's `.npz` files."""
    for metric in metrics:
        content, found = io.BytesIO(), statistics[metric.name]
        np.savez_compressed(content, key=_key(metric, items), sum=_sum(found), statistics=found)
        atomic_write_bytes(folder / f"{metric.name}.npz", content.getvalue())


def _kept(folder: Path, metric: Metric, items: Sequence[Item]) -> Array | None:
    """A file's statistics; `None` if there is none, or it is of something else or damaged: they can be had again."""
    file = folder / f"{metric.name}.npz"
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as content:
            statistics: Array = content["statistics"]
            known = str(content["key"]) == _key(metric, items) and str(content["sum"]) == _sum(statistics)
            return statistics if known else None
    except Exception:  # numpy and zipfile raise too many kinds to list
        return None


def _sum(statistics: Array) -> str:
    """Their hash: a zip file's own checksum is not looked at where a damaged header says that an array is shorter."""
    return hashlib.sha256(np.ascontiguousarray(statistics).tobytes()).hexdigest()


def _key(metric: Metric, items: Sequence[Item]) -> str:
    texts = [item.prediction for item in items]
    references = [item.references[0] if len(item.references) == 1 else list(item.references) for item in items]
    sources = [[item.source for item in items]] if metric.reads_source else []
    return content_hash([metric.sign(references_of(items)), texts, references, *sources])


def _computed(metrics: Sequence[Metric], items: Sequence[Item], workers: int) -> dict[str, Array]:
    parts: dict[str, list[Array]] = {metric.name: [] for metric in metrics}
    works = [
        (metric.name, metric.statistics, items[start : start + CHUNK])
        for metric in metrics
        for start in range(0, len(items), CHUNK)
    ]
    with progress("score", total=len(metrics) * len(items), unit="segments") as bar, _mapping(workers, works) as done:
        for (name, *_), statistics in zip(works, done, strict=True):
            parts[name].append(statistics)
            bar.advance(len(statistics), note=name)
    for name, arrays in parts.items():
        if len(widths := {array.shape[1] for array in arrays}) > 1:
            numbers = " and ".join(map(str, sorted(widths)))
            raise DataError(f'The metric "{name}" gives {numbers} statistics of one item; give as many of each.')
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


@contextmanager
def _mapping(workers: int, works: Sequence[Work]) -> Iterator[Iterable[Array]]:
    """The works' statistics in their order, from this process or from so many others."""
    if workers == 1 or len(works) == 1:
        yield map(_work, works)
        return
    for name, statistics, _ in works:
        _check_can_be_sent(name, statistics)
    # A fork of a process with torch's threads may hang; a fresh process imports the metrics only.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(works)), context, load_plugins, (list(LOADED),)) as pool:
        yield pool.map(_work, works)


def _check_can_be_sent(name: str, statistics: Callable[[Sequence[Item]], Array]) -> None:
    try:
        pickle.dumps(statistics)
    except Exception as error:  # pickle raises too many kinds to list
        raise UsageError(
            f'The metric "{name}" counts by what cannot be sent to another process; make it a function of the file '
            "(def), or use --workers 1."
        ) from error


def _work(work: Work) -> Array:
    return counted(*work)
