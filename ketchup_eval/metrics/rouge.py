"""ROUGE-1, -2, -L and -Lsum (Lin, 2004) by rouge-score; mean over items of F1 x 100.

`rouge` is the one of published English numbers: rouge-score's own tokenizer, which knows a to z and 0 to 9, and stems.
`rouge-unicode` counts the same overlaps of words in any script (see `unicode_words`), unstemmed. Of several references
each type takes the one with the highest F1 (Lin, 2004, section 2.1, without the jackknife), as the signature says:
`refs:best`.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import version

import numpy as np

from ketchup_eval.metrics.base import Item, Metric, Scale, mean_of, nrefs
from ketchup_eval.metrics.scripts import BEYOND_ASCII, VISIBLE, share_of_words, unicode_words
from ketchup_eval.stats.bootstrap import Array

TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


class _UnicodeTokenizer:
    """What rouge-score asks for the words of a text."""

    def tokenize(self, text: str) -> list[str]:
        return unicode_words(text)


@cache
def _scorer(any_script: bool) -> "RougeScorer":  # type: ignore[name-defined]  # noqa: F821
    from rouge_score.rouge_scorer import RougeScorer  # noqa: PLC0415  (takes a second)

    return RougeScorer(TYPES, tokenizer=_UnicodeTokenizer()) if any_script else RougeScorer(TYPES, use_stemmer=True)


def statistics(items: Sequence[Item]) -> Array:
    """F1 of each type, [n, 4]."""
    return _statistics(items, any_script=False)


def unicode_statistics(items: Sequence[Item]) -> Array:
    """The same over words of any script."""
    return _statistics(items, any_script=True)


def _statistics(items: Sequence[Item], *, any_script: bool) -> Array:
    scorer = _scorer(any_script)
    scores = [scorer.score_multi(item.references, item.prediction) for item in items]
    return np.array([[score[name].fmeasure for name in TYPES] for score in scores]).reshape(-1, len(TYPES))


def unread(texts: Iterable[str]) -> str | None:
    """Whether rouge-score's tokenizer breaks or drops a visible share of the words."""
    share = share_of_words(texts, BEYOND_ASCII)
    if share < VISIBLE:
        return None
    return (
        f"rouge knows the letters a to z and digits only: {100 * share:.1f}% of the words of these texts have others, "
        "which it drops; rouge-unicode reads all (--metrics rouge rouge-unicode)."
    )


METRIC = Metric(
    name="rouge",
    kinds=frozenset({"summarization", "translation", "instruction"}),
    statistics=statistics,
    scales=tuple(Scale(name, "mean", mean_of(column, 100.0)) for column, name in enumerate(TYPES)),
    signature=lambda references: (
        f"{nrefs(references, 'best')}|stemmer:yes|measure:f1|tok:default|rouge-score:{version('rouge-score')}"
    ),
    default_for=frozenset({"summarization", "instruction"}),
    unread=unread,
)

UNICODE = Metric(
    name="rouge-unicode",
    kinds=METRIC.kinds,
    statistics=unicode_statistics,
    scales=tuple(Scale(f"{name}-unicode", "mean", mean_of(column, 100.0)) for column, name in enumerate(TYPES)),
    signature=lambda references: (
        f"{nrefs(references, 'best')}|stemmer:no|case:folded|measure:f1|tok:uax29|"
        f"regex:{version('regex')}|rouge-score:{version('rouge-score')}"
    ),
)
