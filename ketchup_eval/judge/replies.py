"""What a judge's reply says: the ID on its last `Preferred:` line, or nothing at all.

A reply is never guessed at. The criterion's own line, the explanation and any other text are not looked at, since
they quote both IDs; only the form of the last `Preferred:` line is read with tolerance.
"""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Id = Literal["A", "B"]

# Marks around letters: brackets, quotes, Markdown, LaTeX, characters without width.
_MARK = r"""[*_`"'“”‘’„«»\[\](){}<>$【】「」『』《》〈〉\u200b-\u200f\u2060\ufeff]|\\[a-z]+(?=[\s{(\\])|\\[()\[\]]"""
# Tags such as </answer> or <|begin_of_box|>, but none that may be an ID in angle brackets.
_TAG = r"</[^<>\n]{1,40}>|<b>(?=[^<>\n]{1,40}</b>)|<(?![^<>\n]{0,40}\b[ab]\b)[^<>\n]{1,40}>"
_MARKS = rf"(?:\s|{_TAG}|{_MARK})*+"
# Judges write Prefered, Preffered and Perferred, and put the label in bold, in a list or behind a sentence.
_LABEL = re.compile(
    rf"""(?: ^ (?:[^\S\n] | {_MARK} | [•\#-])*+ | [.!?]["'”*_]* [^\S\n]+ [*_]* | [。！？]["'”*_]* )
        (?:my\s)? p(?:re|er)f+er+e?d (?:[^\S\n] (?:summary|translation|text|option))? (?:[^\S\n] id)?
        [^\S\n*_`"']* [*_`"']* \s? [:：] [*_`]*""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_VALUE = re.compile(
    rf"""{_MARKS} (?:the\s)? (?:summary|translation|text|candidate|option|version|id)? (?:\sid)? :?
         {_MARKS} (?P<id>[ab])
         {_MARKS} (?:$ | [.,;:!–—。、・-] (?P<rest>.*) | (?<=[(]) (?P<aside>.*))""",
    re.IGNORECASE | re.VERBOSE,
)
_THINK = r"[\w:]*(?:think|thought|reason|reflect|scratchpad|monologue|rationale)\w*|analysis"
# <think>, <|begin_of_thought|>, <seed:think>, [THINK], ◁think▷, <|channel|>analysis; without special tokens: analysisWe
_THOUGHTS_START = re.compile(
    rf"""<[|]?(?!end_)(?:{_THINK})[|]?> | (?-i:\[THINK(?:ING)?\]) | ◁think▷ | <unused94>
        | <[|]?channel[|]?>\s*(?:analysis|commentary|thought) | (?-i:\Aanalysis(?=[A-Z]))""",
    re.IGNORECASE | re.VERBOSE,
)
_THOUGHTS_END = re.compile(
    rf"""</(?:{_THINK})> | <[|](?:/|end_)(?:{_THINK})[|]> | (?-i:\[/THINK(?:ING)?\]) | ◁/think▷ | <unused95>
        | <[|]?channel[|]?>\s*final(?:\s*<[|]message[|]>)? | <channel[|]> | (?-i:assistantfinal)""",
    re.IGNORECASE | re.VERBOSE,
)
# What models write behind their turn, where a server does not take it away.
_TURN_END = re.compile(
    r"""<[|｜](?: eo[tms](?:_id)? | im_end | im_start | end | end[_▁]?of[_▁]?(?:text|turn|sentence|solution)(?:_token)?
        | end_response | return | user | observation | start_header_id )[|｜]>
        | </s> | <eos> | <end_of_turn> | <start_of_turn> | <turn[|]> | \[/?INST\]""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class _Choice:
    id: Id
    place: int
    """Where the ID stands in the reply, in characters."""


def preferred_id(reply: str, *, cut: bool = False, whole: bool = True) -> Id | None:
    """The ID that a reply prefers, or `None` if it is unparsed.

    Only the last `Preferred:` line counts, outside a reasoning model's thoughts. A line that names both IDs, neither
    or something else is unparsed, whatever an earlier one says. `cut` tells that the limit on tokens ended the reply:
    then no line counts, be it of unmarked thoughts or not, unless the model's own end of turn follows it. Where nobody
    says that the reply is `whole`, its choice must be on its last line.
    """
    choice = _choice(reply, cut, whole)
    return choice.id if choice else None


def preference_for_a(reply: str, tokens: Sequence[str], likely: Sequence[Mapping[str, float]]) -> float | None:
    """How probable the ID "A" was where the reply names its choice, against "B" alone; `None` where that is unknown.

    `tokens` are the reply's own and `likely` the log-probabilities, in nats, of the likeliest tokens at each place. A
    choice that is not among them has the probability 0; of spellings such as "A" and " A" the sum counts.
    """
    choice = _choice(reply)
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


def _choice(reply: str, cut: bool = False, whole: bool = True) -> _Choice | None:
    text = _without_thoughts(reply)
    if text is None:
        return None
    first = _LABEL.search(text)
    turn_end = _TURN_END.search(text, first.end()) if first else None
    if first is None or (cut and turn_end is None):
        return None
    text = text[: turn_end.start()] if turn_end else text
    *_, label = _LABEL.finditer(text)
    begin, end = _value(text, label.end())
    match = _VALUE.fullmatch(_half_width(text[begin:end].rstrip()))
    if match is None or not (whole or turn_end or not text[end:].strip()):
        return None
    chosen: Id = "A" if match["id"] in "aA" else "B"
    other = "B" if chosen == "A" else "A"
    if re.search(rf"\b{other}\b", match["rest"] or match["aside"] or "", re.ASCII):
        return None
    return _Choice(chosen, begin + match.start("id"))


def _without_thoughts(reply: str) -> str | None:
    """The reply with line ends in the place of thoughts, or `None` where these do not end.

    Chat templates may open the thoughts themselves: then an end without a start closes all that goes before.
    """
    parts, place = [], 0
    for end in _THOUGHTS_END.finditer(reply):
        start = _THOUGHTS_START.search(reply, place, end.start())
        begin = start.start() if start else place
        parts += [reply[place:begin], "\n" * (end.end() - begin)]
        place = end.end()
    return None if _THOUGHTS_START.search(reply, place) else "".join([*parts, reply[place:]])


def _half_width(text: str) -> str:
    """The text with full-width letters and punctuation as in ASCII, each character in its place."""
    forms = [unicodedata.normalize("NFKC", character) for character in text]
    return "".join(form if len(form) == 1 else character for form, character in zip(forms, text, strict=True))


def _value(reply: str, begin: int) -> tuple[int, int]:
    """Where the value of a label lies: the rest of its line, or the next line with text if nothing follows."""
    while begin < len(reply) and reply[begin].isspace():
        begin += 1
    end = reply.find("\n", begin)
    return begin, len(reply) if end < 0 else end


def _bare(token: str) -> str:
    """A token without space and brackets, in capitals."""
    return _half_width(token).strip(" \n\t[](){}$*\"'`<>▁Ġ").upper()
