"""Why a call to a server failed: one table from what the server says to what it means.

Servers agree on neither statuses nor words nor the shape of an error's body, so all of what is said is looked at:
status, codes, types and messages at any depth, also where the status is 200. What none of them says is not guessed at:
such a refusal is `refused`, and only other calls can tell whether it is the server's or the prompt's.
"""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from itertools import islice
from typing import Literal, NamedTuple

import openai

from ketchup.redaction import redacted
from ketchup.texts import one_line

Kind = Literal["passing", "too_long", "blocked", "key", "model", "quota", "refused"]
"""What a failure means.

passing: the same call may succeed later. too_long, blocked: the prompt does not fit into the model, or is not allowed;
other prompts may be. key, model, quota: no call can succeed before something is mended. refused: it may be either.
"""
OF_PROMPTS = frozenset({"too_long", "blocked"})
NOT_OF_PROMPTS = frozenset({"key", "model", "quota"})
PASSING_STATUSES = frozenset({200, 408, 409, 425})
"""Those, beside 429 and 5xx, after which the same call may succeed; 200 is an error where the reply should be."""
LONGEST_REASON = 300
"""Characters of a reason that is shown."""
LONGEST_SAID = 20_000
"""Characters of an error that are looked at."""


@dataclass(frozen=True)
class Failure:
    """One failed try. `reason` is for people; `said` is all that the server said, in small letters.

    `wait` is how many seconds the server asks to wait; `unreachable` tells that there was no connection at all.
    """

    kind: Kind
    reason: str
    status: int | None = None
    said: str = ""
    wait: float | None = None
    unreachable: bool = False


class CallError(Exception):
    """A call failed at every try, or in a way that another one cannot mend."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class NoReply(Exception):  # noqa: N818  (what came is no error of the program, and is tried again)
    """What a server sent is not what was asked for."""


class _Row(NamedTuple):
    """Failures with one of these statuses, if any are named, and one of these words, if any are named."""

    kind: Kind
    statuses: frozenset[int] = frozenset()
    words: Sequence[str] = ("",)


_OUT_OF_CREDIT = (
    "insufficient[ _](?:quota|balance|credit|funds)",
    "billing_hard_limit|billing_not_active|arrearage",
    "credit balance is too low|(?:out of|not enough|no) (?:remaining )?credits?\\b",
)
_TOO_LONG = (
    "context[_ ](?:length|size|window)[_ ]exceeded|exceed_context_size|string_above_max|request_too_large",
    "(?:maximum|max|available|model'?s|allowed)[ _](?:context|model|sequence|input|prompt)[ _](?:length|size|window)",
    r"exceed\w*[^.]{0,80}\b(?:context|input token|token limit|maximum (?:number of )?(?:input )?tokens)",
    r"context (?:length|size|window|limit)[^.]{0,80}\bexceed|\bcontext\b[^.]{0,20}\boverflow",
    r"longer than[^.]{0,60}\b(?:context|maximum|allowed)|\bcontext length of only\b|too large for model",
    r"\b(?:prompt|inputs?|request|messages?|text|document|conversation)\b[^.]{0,40}\btoo (?:long|large|big)\b",
    r"\btoo many (?:input |prompt )?tokens|must have less than \d+ tokens|tokens[^.]{0,40}must be <=",
    r"\b(?:reduce|shorten)\b[^.]{0,30}\b(?:prompt|input|messages)\b|shorter (?:input|prompt)",
)
_BLOCKED = (
    "content[ _-]?(?:filter|policy|management|moderation|exists risk|violat)|moderat|flagged|guardrail",
    "responsible[ _]?ai|inappropriate|harmful|prohibited|safety|sensitive|data_?inspection|blockreason",
    "usage (?:policy|policies|guidelines)|copyright|recitation|敏感|违规|不当",
)
_NO_MODEL = (
    r"\bmodel\b.{0,120}\b(?:not[ _]found|does not exist|not available|is not a valid|decommissioned)",
    r"model_not_found|(?:invalid|unknown|no such|not a valid) model\b",
)
_TABLE = (
    _Row("quota", frozenset({402})),
    _Row("quota", words=_OUT_OF_CREDIT),
    _Row("key", frozenset({401})),
    _Row("passing", frozenset({429})),  # before `too_long`, as a rate may be one of tokens
    _Row("too_long", frozenset({413, 414, 431})),
    _Row("too_long", words=_TOO_LONG),
    _Row("blocked", frozenset({200, 400, 403, 406, 422, 451}), _BLOCKED),
    _Row("model", frozenset({404})),
    _Row("model", frozenset({400, 422}), _NO_MODEL),
    _Row("passing", PASSING_STATUSES | frozenset(range(500, 600))),
    _Row("refused"),
)
"""Of the rows that match a failure the first counts."""
_UNSUPPORTED = re.compile(
    "unsupported|not (?:be )?support|n't support|unrecogni[sz]ed|unexpected|unknown|extra[ _]|instead"
)
_OUT_OF_RANGE = re.compile(
    "at most|less than|<=|≤|between|range|too (?:large|high|big)|above|maximum|exceed|must be an? |valid (?:number|int)"
)
_FAULT_FIELDS = ("message", "msg", "detail", "details", "error", "errors", "title", "reason", "description", "raw")
_MARKUP = re.compile("<style.*?</style>|<script.*?</script>|<[^<>]*>", re.DOTALL)
_ECHOES = frozenset({"input", "inputs", "flagged_input", "prompt", "messages", "ctx", "url"})
"""Fields of an error that repeat the request, whose words are not the server's."""


def failure_of(error: Exception) -> Failure:
    """What an exception of the client means; one that has another cause is raised again."""
    if isinstance(error, openai.APIStatusError):
        response = error.response
        return failure_in(response.text, error.status_code, response.headers)
    if isinstance(error, openai.APITimeoutError):
        return Failure("passing", "there was no whole reply in time")
    if isinstance(error, openai.APIError):
        cause = error.__cause__
        names = {kind.__name__ for kind in type(cause).__mro__}
        reason = f"{str(error).rstrip('.')}: {cause}" if cause and str(cause) else str(error)
        return Failure("passing", _shown(reason), unreachable=bool(names & {"ConnectError", "ProxyError"}))
    if isinstance(error, NoReply):
        return Failure("passing", _shown(str(error)))
    raise error


def failure_in(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Failure:
    """What an error's body means, as text or parsed, with its status; a status of its own counts where that is 200."""
    found = list(islice(_sayings(body), 1000))
    if status == 200:
        own = [
            text for field, text in found if field in ("code", "status", "status_code") and re.fullmatch("[45]..", text)
        ]
        status = int(own[0]) if own else status
    said = " ".join(f"{field} {text}" for field, text in found)[:LONGEST_SAID].lower().strip()
    words = list(dict.fromkeys(text for field, text in found if field in _FAULT_FIELDS and text.strip()))
    words = words or [text for field, text in found if field == ""]
    reason = "; ".join(words) or "without a word"
    kind = next(row.kind for row in _TABLE if _matches(row, status, said))
    reason = reason if status == 200 else f"{status}: {reason}"
    return Failure(kind, _shown(reason), status, said, _asked_wait(headers or {}, found))


def refused_parameter(failure: Failure, sent: Sequence[str]) -> str | None:
    """Which of the parameters that were sent the server does not take, as far as its words tell."""
    if failure.kind not in ("passing", "refused", "model") or failure.status in (None, 429):
        return None
    if _OUT_OF_RANGE.search(failure.said) and not _UNSUPPORTED.search(failure.said):
        return None  # another value would do, which only the user can choose
    # Servers that want `max_completion_tokens` may name that alone.
    forms = {name: name.replace("max_tokens", "max_(?:completion_)?tokens").replace("_", "[ _]?") for name in sent}
    places = {name: re.search(rf"\b{form}\b", failure.said) for name, form in forms.items()}
    named = {name: place.start() for name, place in places.items() if place}
    return min(named, key=lambda name: named[name], default=None)


def _matches(row: _Row, status: int, said: str) -> bool:
    return (not row.statuses or status in row.statuses) and re.search("|".join(row.words), said) is not None


def _sayings(value: object, field: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Every text of an error with the field that it stands in, outermost first; JSON in a text is read too."""
    if isinstance(value, str) and depth < 8:
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            inner = None
        if isinstance(inner, (dict, list)):
            yield from _sayings(inner, field, depth + 1)
        else:
            yield (
                field,
                re.sub(r"<style.*?</style>|<script.*?</script>|<[^<>]*>", " ", value[:LONGEST_SAID], flags=re.DOTALL),
            )
    elif isinstance(value, dict) and depth < 8:
        if isinstance(value.get("loc"), list) and isinstance(value.get("msg"), str):
            value = value | {"msg": f"{'.'.join(map(str, value['loc']))}: {value['msg']}"}
        for name, part in sorted(value.items(), key=lambda item: isinstance(item[1], (dict, list))):
            if name not in _ECHOES:
                yield from _sayings(part, str(name), depth + 1)
    elif isinstance(value, list) and depth < 8:
        for part in value:
            yield from _sayings(part, field, depth + 1)
    elif value is not None and not isinstance(value, (dict, list)):
        yield field, str(value)


def _asked_wait(headers: Mapping[str, str], found: Sequence[tuple[str, str]]) -> float | None:
    """The seconds that a server asks to wait: RFC 9110's Retry-After (a number or a date), or what others send."""
    in_ms, plain = _number(headers.get("retry-after-ms")), headers.get("retry-after")
    if in_ms is not None:
        return in_ms / 1000
    if plain is not None:
        seconds = _number(plain)
        return seconds if seconds is not None else _until(plain, headers.get("date"))
    delays = [text for field, text in found if field.lower() in ("retrydelay", "retry_after", "retry_after_seconds")]
    return _number(delays[0].removesuffix("s")) if delays else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(number) or number < 0 else min(number, 1e9)


def _until(date: str, now: str | None) -> float | None:
    """Seconds from the server's own `now`, if it says so, to a date."""
    moments = [_moment(text) for text in (date, now or "")]
    if moments[0] is None:
        return None
    return max(0.0, moments[0] - (time.time() if moments[1] is None else moments[1]))


def _moment(date: str) -> float | None:
    try:
        parts = parsedate_tz(date)
        return None if parts is None else float(mktime_tz((*parts[:9], parts[9] or 0)))
    except (ValueError, OverflowError, TypeError):
        return None


def _shown(text: str) -> str:
    return one_line(redacted(text)).rstrip(".")[:LONGEST_REASON]
