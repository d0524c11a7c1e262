"""BLEU (Papineni et al., 2002) of a corpus by sacrebleu, in its default settings but for the tokenizer."""

from collections.abc import Iterable, Sequence
from functools import cache, partial

import numpy as np
from sacrebleu.metrics import BLEU

from ketchup.choices import BleuTokenizer
from ketchup.errors import UsageError
from ketchup_eval.metrics.base import Item, Metric, Scale
from ketchup_eval.metrics.sacrebleu import signature, statistics_of
from ketchup_eval.metrics.scripts import UNSPACED, VISIBLE, characters_of, share_of_words
from ketchup_eval.stats.bootstrap import Array

ORDER = 4


DEFAULT: BleuTokenizer = "13a"
SPLITS: dict[BleuTokenizer, frozenset[str]] = {
    "zh": frozenset({"Han"}),
    "ja-mecab": frozenset({"Han", "Hiragana", "Katakana"}),
    "char": UNSPACED,
}
"""The scripts without spaces that a tokenizer splits into words or characters; others split none."""


@cache
def library(tokenizer: BleuTokenizer) -> BLEU:
    """sacrebleu's own; `force` only silences its advice about tokenised text.

    Raises `UsageError` for a tokenizer whose package is missing.
    """
    try:
        return BLEU(force=True, tokenize=tokenizer)
    except (RuntimeError, ImportError) as error:
        language = tokenizer.split("-")[0]
        raise UsageError(
            f"--bleu-tokenize {tokenizer} needs a dictionary that is not installed; "
            f'run `pip install "sacrebleu[{language}]"`.'
        ) from error


def statistics(items: Sequence[Item], *, tokenizer: BleuTokenizer = DEFAULT) -> Array:
    """Length of text and reference, then matched and all n-grams of orders 1 to 4, [n, 10]."""
    return statistics_of(library(tokenizer), items)


def unread(texts: Iterable[str], *, tokenizer: BleuTokenizer = DEFAULT) -> str | None:
    """Whether a visible share of the words are whole clauses to the tokenizer."""
    whole = UNSPACED - SPLITS.get(tokenizer, frozenset())
    share = share_of_words(texts, characters_of(whole)) if whole else 0
    if share < VISIBLE:
        return None
    return (
        f"bleu with the tokenizer {tokenizer} finds words by spaces: {100 * share:.1f}% of what it takes for words are "
        "of scripts without; choose --bleu-tokenize zh, ja-mecab or char."
    )


def bleu(sums: Array, n: int) -> Array:  # noqa: ARG001
    """sacrebleu's score of each row of sums [..., 10]: brevity penalty x geometric mean, smoothing `exp`.

    An order without a match gets 1/2^j of one match, j counting such orders; 0 where no word matches. An order without
    n-grams makes the score 0: its precision is 0, and sacrebleu takes log 0 for -9999999999.
    """
    defined = (sums[..., 2 + ORDER :] > 0).all(axis=-1)
    result: Array = np.where(defined, sentence_bleu(sums), 0.0)
    return result


def sentence_bleu(sums: Array) -> Array:
    """The same with sacrebleu's "effective order": the mean is over the orders of which the text has n-grams at all.

    BLEU as for a corpus would be 0 for every text of fewer than four words.
    """
    length, reference = sums[..., 0], sums[..., 1]
    matched, total = sums[..., 2 : 2 + ORDER], sums[..., 2 + ORDER :]
    there = total > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        penalty = np.where(length < reference, np.exp(1 - reference / length), 1.0)
        missing = np.cumsum(matched == 0, axis=-1)
        precision = np.where(matched == 0, 0.5**missing, matched) / total
        mean_log = np.where(there, np.log(precision), 0).sum(axis=-1) / there.sum(axis=-1)
        result: Array = np.where((matched > 0).any(axis=-1), 100 * penalty * np.exp(mean_log), 0.0)
    return result


def metric(tokenizer: BleuTokenizer) -> Metric:
    """BLEU of words that the tokenizer finds; a `UsageError` if it is not installed."""
    library(tokenizer)
    return Metric(
        name="bleu",
        kinds=frozenset({"summarization", "translation", "instruction"}),
        statistics=partial(statistics, tokenizer=tokenizer),
        scales=(Scale("bleu", "corpus", bleu, segment_rule=sentence_bleu),),
        signature=lambda references: signature(library(tokenizer), references),
        default_for=frozenset({"translation"}),
        unread=partial(unread, tokenizer=tokenizer),
    )


METRIC = metric(DEFAULT)
