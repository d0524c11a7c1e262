"""ROUGE-1, -2, -L and -Lsum (Lin, 2004) by rouge-score, stemmed; mean over items of F1 x 100."""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version

import numpy as np

from ketchup_eval.metrics.base import Metric, Scale, mean_of
from ketchup_eval.stats.bootstrap import Array

TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


@cache
def _scorer() -> "RougeScorer":  # type: ignore[name-defined]  # noqa: F821
    from rouge_score.rouge_scorer import RougeScorer  # noqa: PLC0415  (takes a second)

    return RougeScorer(TYPES, use_stemmer=True)


def statistics(texts: Sequence[str], references: Sequence[str]) -> Array:
    """F1 of each type, [n, 4]."""
    scores = [_scorer().score(reference, text) for text, reference in zip(texts, references, strict=True)]
    return np.array([[score[name].fmeasure for name in TYPES] for score in scores]).reshape(-1, len(TYPES))


METRIC = Metric(
    name="rouge",
    kinds=frozenset({"summarization", "translation"}),
    statistics=statistics,
    scales=tuple(Scale(name, "mean", mean_of(column, 100.0)) for column, name in enumerate(TYPES)),
    signature=lambda: f"nrefs:1|stemmer:yes|measure:f1|tok:default|rouge-score:{version('rouge-score')}",
    default_for=frozenset({"summarization"}),
)
