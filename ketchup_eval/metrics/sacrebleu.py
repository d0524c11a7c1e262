"""What the metrics of sacrebleu have in common: statistics of segments, and the signature."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from ketchup_eval.metrics.base import Item
from ketchup_eval.stats.bootstrap import Array


def statistics_of(metric: Any, items: Sequence[Item]) -> Array:
    """The statistics that the metric itself sums up, a row per segment; of several references each takes its way."""
    # sacrebleu's own significance tests read them by this name; nothing public has them for chrF.
    streams = list(zip_longest(*(item.references for item in items)))
    texts = [item.prediction for item in items]
    return np.array(metric._extract_corpus_statistics(texts, streams), dtype=np.float64)


def signature(metric: Any, references: str) -> str:
    """sacrebleu's own signature for so many references per segment."""
    # The number of references is known only after a call; a missing one makes it vary.
    streams: list[list[str | None]] = [["x", "x"], ["x", None]] if references == "var" else [["x"]] * int(references)
    metric.corpus_score(["x"] * len(streams[0]), streams)
    return str(metric.get_signature())
