"""Words in any script, and how much of a text a tokenizer made for some scripts cannot see."""

import unicodedata
from collections.abc import Collection, Iterable

import regex

VISIBLE = 1 / 500
"""The share of words from which on it is said that a metric does not read them. In English news 1 in 2,000 words has a
letter beyond a to z, in Dutch debates 1 in 200."""

BEYOND_ASCII = regex.compile(r"[^\x00-\x7f]")
UNSPACED = frozenset({"Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar"})
"""Scripts that are written without spaces between words."""

_BOUNDARY = regex.compile(r"(?wV1)\b")  # with the flag w, UAX #29's default word boundaries
_READABLE = regex.compile(r"[\p{L}\p{M}\p{N}]")
_RUN = regex.compile(rf"{_READABLE.pattern}+")
_IGNORABLE = regex.compile(r"\p{Default_Ignorable_Code_Point}")


def unicode_words(text: str) -> list[str]:
    """The words of a text by Unicode's default boundaries (UAX #29) that have a letter, a mark or a digit.

    So letters keep their accents and vowel signs, each character of Chinese, Japanese (but for runs of Katakana), Thai,
    Lao, Khmer and Burmese is a word, and `don't` and `3.14` are one each. Before that, what readers take for the same
    is made the same: case, width, ligatures and the order of marks (NFKC_Casefold), and the curly apostrophe.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).replace("\u2019", "'")
    return [word for word in _BOUNDARY.split(_IGNORABLE.sub("", folded)) if _READABLE.search(word)]


def characters_of(scripts: Collection[str]) -> "regex.Pattern[str]":
    """A pattern for one character of any of these scripts."""
    return regex.compile("|".join(rf"\p{{{script}}}" for script in sorted(scripts)))


def share_of_words(texts: Iterable[str], strange: "regex.Pattern[str]") -> float:
    """The share of words - runs of letters, marks and digits - that have a `strange` character; 0 without words."""
    words = found = 0
    for text in texts:
        runs = _RUN.findall(text)
        words += len(runs)
        found += sum(strange.search(run) is not None for run in runs)
    return found / words if words else 0.0
