"""A chat completion as servers send it, read with tolerance for its shape and with none for what it leaves open."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ketchup.remote.failures import CallError, NoReply, failure_in

CUT = "length"
"""How the limit on tokens is called as a reason to finish."""
_CUTS = frozenset(
    {CUT, "max_tokens", "max_new_tokens", "max_output_tokens", "max_completion_tokens", "model_length", "token_limit"}
    | {"limit", "max_length", "incomplete", "truncated", "model_context_window_exceeded"}
)
_FAILURES = frozenset(
    {"error", "content_filter", "content-filter", "contentfilter", "filtered", "safety", "recitation", "blocklist"}
    | {"prohibited_content", "spii", "other", "refusal", "sensitive", "guardrail_intervened", "moderation", "blocked"}
    | {"abort", "aborted", "cancelled", "canceled", "network_error", "insufficient_system_resource", "timeout"}
    | {"error_toxic", "error_limit", "eos_token_missing", "malformed_function_call", "malformed_response", "failed"}
)
_WHOLE = frozenset(
    {"stop", "stopped", "eos", "eos_token", "end", "end_turn", "end_of_turn", "stop_sequence", "stop_string", "done"}
    | {"complete", "completed", "finished", "tool_calls", "tool_call", "tool_use", "function_call", "load", "word"}
)
_REASON_FIELDS = ("finish_reason", "native_finish_reason", "stop_reason", "done_reason", "stop_type")
"""Where servers say why a reply ended; the first is the usual one, and may say "stop" for what another one knows."""
LEAST_LOGPROB = -1e9
DEEPEST = 20
_THOUGHTS = ("think", "reason", "analysis")
"""What the type of a part is called that is no part of the reply."""


@dataclass(frozen=True)
class Completion:
    """A reply, how it ended (`CUT` under whatever name), and the tokens it is made of where they are known.

    `likely` are the log-probabilities, in nats, of the likeliest tokens at each place.
    """

    text: str
    finish_reason: str | None
    usage: Mapping[str, int | None]
    model: str | None
    tokens: Sequence[str] = ()
    likely: Sequence[Mapping[str, float]] = ()


def read_completion(reply: object, limit: int | None = None) -> Completion:
    """The completion in a server's JSON; `limit` is how many tokens it was allowed.

    A reply of that many tokens is cut, whatever the server calls it. Raises `CallError` for an error in place of a
    completion, and for one that ended in a fault or a filter, which says nothing; `NoReply` for any other JSON.
    """
    body = reply if isinstance(reply, dict) else {}
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    fault = choice.get("error") or body.get("error")
    if fault or not choice:
        failure = failure_in(fault or reply)
        said = f", but {failure.reason}" if failure.said else ""
        raise CallError(replace(failure, reason=f"the reply is no chat completion{said}"))
    usage = _usage(body.get("usage"))
    ending = finish_of({**body, **choice})
    if is_failure(ending):
        raise NoReply(f"the server broke the reply off ({ending})")
    if limit is not None and (usage["completion"] or 0) >= limit:
        ending = CUT
    tokens = list(_tokens(choice.get("logprobs")))
    return Completion(
        text=_text(choice),
        finish_reason=ending,
        usage=usage,
        model=body["model"] if isinstance(body.get("model"), str) else None,
        tokens=[token for token, _ in tokens],
        likely=[alternatives for _, alternatives in tokens],
    )


def finish_of(choice: Mapping[str, Any]) -> str | None:
    """Why a choice ended: cut or failed where any of its fields says so, else what the usual one says."""
    reasons = [choice[field] for field in _REASON_FIELDS if isinstance(choice.get(field), str) and choice[field]]
    if any(is_cut(reason) for reason in reasons):
        return CUT
    return next((reason for reason in reasons if is_failure(reason)), reasons[0] if reasons else None)


def is_cut(reason: str | None) -> bool:
    """Whether a reply ended at the limit on tokens, and not by itself."""
    return not _CUTS.isdisjoint(_names(reason))


def is_whole(reason: str | None) -> bool:
    """Whether the server says that the model itself ended the reply."""
    return not _WHOLE.isdisjoint(_names(reason))


def is_failure(reason: str | None) -> bool:
    """Whether a reply ended in a fault of the server's, or in a filter, so that it is no verdict."""
    return not _FAILURES.isdisjoint(_names(reason))


def _names(reason: str | None) -> list[str]:
    """The names in a reason such as `FinishReason.MAX_TOKENS` or `content_filter: SAFETY`."""
    return re.split(r"[.:\s]+", (reason or "").lower())


def _text(choice: Mapping[str, Any]) -> str:
    message = choice.get("message")
    if isinstance(message, str):
        return message
    if not isinstance(message, dict):
        if isinstance(choice.get("text"), str):
            return str(choice["text"])
        raise NoReply(f"the reply has no message ({_shown(choice)})")
    content = message.get("content")
    if content is None:
        content = message.get("refusal")
    return "".join(_parts(content))


def _parts(content: object, depth: int = 0) -> Iterator[str]:
    """The texts of a content, which may be a list of parts, thoughts among them."""
    if depth > DEEPEST:
        raise NoReply(f"the reply's content has parts in parts beyond depth {DEEPEST}")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            yield from _parts(part, depth + 1)
    elif isinstance(content, dict):
        kind = str(content.get("type", "")).lower()
        if any(name in kind for name in _THOUGHTS) or content.get("thought") is True:
            return
        inner = [content[name] for name in ("text", "content", "value", "refusal") if content.get(name) is not None]
        if not inner:
            raise NoReply(f"the reply's content has a part without text ({_shown(content)})")
        yield from _parts(inner[0], depth + 1)
    elif content is not None:
        yield json.dumps(content)


def _usage(usage: object) -> dict[str, int | None]:
    found = usage if isinstance(usage, dict) else {}
    details = found.get("prompt_tokens_details")
    counts = {
        "prompt": found.get("prompt_tokens"),
        "completion": found.get("completion_tokens"),
        "cached": details.get("cached_tokens") if isinstance(details, dict) else None,
    }
    return {name: count if isinstance(count, int) else None for name, count in counts.items()}


def _tokens(logprobs: object) -> Iterator[tuple[str, dict[str, float]]]:
    """Each token with the likeliest ones at its place; nothing where any of it has another form."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return
    for token in content:
        tops = token.get("top_logprobs") if isinstance(token, dict) else None
        if not (isinstance(tops, list) and isinstance(token.get("token"), str)):
            return
        yield token["token"], {top["token"]: max(top["logprob"], LEAST_LOGPROB) for top in tops if _is_top(top)}


def _is_top(top: object) -> bool:
    if not (isinstance(top, dict) and isinstance(top.get("token"), str)):
        return False
    value = top.get("logprob")
    return isinstance(value, (int, float)) and value < 1


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:120]
