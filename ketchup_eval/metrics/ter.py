"""TER (Snover et al., 2006) of a corpus by sacrebleu, in its default settings; lower is better."""

from collections.abc import Iterable, Sequence

import numpy as np
from sacrebleu.metrics import TER

from ketchup_eval.metrics.base import Item, Metric, Scale
from ketchup_eval.metrics.sacrebleu import signature, statistics_of
from ketchup_eval.metrics.scripts import UNSPACED, VISIBLE, characters_of, share_of_words
from ketchup_eval.stats.bootstrap import Array


def statistics(items: Sequence[Item]) -> Array:
    """Edits and words of the reference, [n, 2]."""
    return statistics_of(TER(), items)


def ter(sums: Array, n: int) -> Array:  # noqa: ARG001
    """sacrebleu's score of each row of sums [..., 2]: edits per reference word x 100; 100 for text against no words."""
    edits, words = sums[..., 0], sums[..., 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.where(words > 0, edits / words, np.where(edits > 0, 1.0, 0.0))
    result: Array = 100 * rate
    return result


def unread(texts: Iterable[str]) -> str | None:
    """Whether a visible share of the words are whole clauses to tercom's tokenizer."""
    share = share_of_words(texts, characters_of(UNSPACED))
    if share < VISIBLE:
        return None
    return (
        f"ter finds words by spaces: {100 * share:.1f}% of what it takes for words are of scripts without; chrf counts "
        "characters."
    )


METRIC = Metric(
    name="ter",
    kinds=frozenset({"summarization", "translation"}),
    statistics=statistics,
    scales=(Scale("ter", "corpus", ter, higher_is_better=False),),
    signature=lambda references: signature(TER(), references),
    default_for=frozenset({"translation"}),
    unread=unread,
)
