"""What a judge's reply says: the ID on its last `Preferred:` line, or nothing at all.

A reply is never guessed at. The criterion's own line, the explanation and any other text are not looked at, since
they quote both IDs; only the form of the last `Preferred:` line is read with tolerance.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Id = Literal["A", "B"]

# Judges write Prefered, Preffered and Perferred, and put the label in bold, in a list or behind a sentence.
_LABEL = re.compile(
    r"""(?: ^ [\s>*_\#•`"'\[(-]* | [.!?]["'”*_]* [^\S\n]+ [*_]* )
        (?:my\s)? p(?:re|er)f+er+e?d (?:[^\S\n] (?:summary|translation|text|option))? (?:[^\S\n] id)?
        [^\S\n*_`"']* [*_`"']* \s? [:：] [*_`]*""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_DECORATION = r"""[\s*_`"'“”‘’\[\](){}<>]*"""
_VALUE = re.compile(
    rf"""{_DECORATION} (?:the\s)? (?:summary|translation|text|candidate|option|version|id)? (?:\sid)? :?
         {_DECORATION} (?P<id>[ab]) {_DECORATION} (?:$ | [.,;:!–—-] (?P<rest>.*) | (?<=[(]) (?P<aside>.*))""",
    re.IGNORECASE | re.VERBOSE,
)
_THOUGHTS_START, _THOUGHTS_END = "<think>", "</think>"


@dataclass(frozen=True)
class _Choice:
    id: Id
    place: int
    """Where the ID stands in the reply, in characters."""


def preferred_id(reply: str, *, cut: bool = False) -> Id | None:
    """The ID that a reply prefers, or `None` if it is unparsed.

    Only the last `Preferred:` line counts, outside a reasoning model's thoughts. A line that names both IDs, neither
    or something else is unparsed, whatever an earlier one says. `cut` tells that the reply ended at the limit on
    its length: then a choice on its last line is unparsed too, since more might have followed.
    """
    choice = _choice(reply, cut)
    return choice.id if choice else None


def preference_for_a(reply: str, tokens: Sequence[str], likely: Sequence[dict[str, float]]) -> float | None:
    """How probable the ID "A" was where the reply names its choice, against "B" alone; `None` where that is unknown.

    `tokens` are the reply's own and `likely` the log-probabilities, in nats, of the likeliest tokens at each place. A
    choice that is not among them has the probability 0; of spellings such as "A" and " A" the sum counts.
    """
    choice = _choice(reply, cut=False)
    if choice is None or not "".join(tokens).startswith(reply):  # servers may append the token that ends the reply
        return None
    end = 0
    for token, alternatives in zip(tokens, likely, strict=False):
        end += len(token)
        if choice.place < end:
            mass = {id: sum(math.exp(p) for t, p in alternatives.items() if _bare(t) == id) for id in ("A", "B")}
            total = mass["A"] + mass["B"]
            return mass["A"] / total if total > 0 else None
    return None


def _choice(reply: str, cut: bool) -> _Choice | None:
    start = reply.rfind(_THOUGHTS_END)
    if start < 0 and _THOUGHTS_START in reply:
        return None
    labels = list(_LABEL.finditer(reply, max(start, 0)))
    if not labels:
        return None
    begin, end = _value(reply, labels[-1].end())
    match = _VALUE.fullmatch(reply[begin:end].rstrip())
    if match is None or (cut and end == len(reply)):
        return None
    chosen: Id = "A" if match["id"] in "aA" else "B"
    other = "B" if chosen == "A" else "A"
    if re.search(rf"\b{other}\b", match["rest"] or match["aside"] or ""):
        return None
    return _Choice(chosen, begin + match.start("id"))


def _value(reply: str, begin: int) -> tuple[int, int]:
    """Where the value of a label lies: the rest of its line, or the next line with text if nothing follows."""
    while begin < len(reply) and reply[begin].isspace():
        begin += 1
    end = reply.find("\n", begin)
    return begin, len(reply) if end < 0 else end


def _bare(token: str) -> str:
    """A token without space and brackets, in capitals."""
    return token.strip(" \n\t[]()*\"'`<>").upper()
