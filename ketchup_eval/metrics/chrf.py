"""chrF (Popović, 2015) of a corpus by sacrebleu, in its default settings: characters to order 6, β = 2."""

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import CHRF

from ketchup_eval.metrics.base import Item, Metric, Scale
from ketchup_eval.metrics.sacrebleu import signature, statistics_of
from ketchup_eval.stats.bootstrap import Array

FACTOR = 2**2
"""β²: how much more recall weighs than precision."""


def statistics(items: Sequence[Item]) -> Array:
    """N-grams of the text, of the reference and of both, for each order, [n, 18]."""
    return statistics_of(CHRF(), items)


def chrf(sums: Array, n: int) -> Array:  # noqa: ARG001
    """sacrebleu's score of each row of sums [..., 18]: F_β of the mean precision and recall.

    The means are over orders that both texts have; 0 where there is none, or no match.
    """
    written, reference, matched = (sums[..., place::3] for place in range(3))
    both = (written > 0) & (reference > 0)
    orders = np.maximum(both.sum(axis=-1), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(both, matched / written, 0.0).sum(axis=-1) / orders
        recall = np.where(both, matched / reference, 0.0).sum(axis=-1) / orders
        score = 100 * (1 + FACTOR) * precision * recall / (FACTOR * precision + recall)
    result: Array = np.where(precision + recall > 0, score, 0.0)
    return result


METRIC = Metric(
    name="chrf",
    kinds=frozenset({"summarization", "translation", "instruction"}),
    statistics=statistics,
    scales=(Scale("chrf", "corpus", chrf),),
    signature=lambda references: signature(CHRF(), references),
    default_for=frozenset({"translation"}),
)
