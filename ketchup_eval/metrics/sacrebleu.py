"""What the metrics of sacrebleu have in common: statistics of segments, and the signature."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ketchup_eval.stats.bootstrap import Array


def segment_statistics(metric: Any, texts: Sequence[str], references: Sequence[str]) -> Array:
    """The statistics that the metric itself sums up, a row per segment; one reference each."""
    # sacrebleu's own significance tests read them by this name; nothing public has them for chrF.
    return np.array(metric._extract_corpus_statistics(texts, [references]), dtype=np.float64)


def signature(metric: Any) -> str:
    """sacrebleu's own signature for one reference per segment."""
    metric.corpus_score(["x"], [["x"]])  # the number of references is known only after this
    return str(metric.get_signature())
