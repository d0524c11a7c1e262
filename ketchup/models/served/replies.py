"""What a server says of the tokens of a prompt: vLLM's `prompt_logprobs`, read without trust."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ketchup.remote.failures import CallError, Failure, NoReply, failure_in

ROUNDING = 1e-3
"""Nats by which a rounded probability may exceed 1."""


@dataclass(frozen=True)
class TokenValues:
    """Of each of some tokens its log-probability `q` and the largest `v` of its state, in nats."""

    q: list[float]
    v: list[float]


def read_values(reply: object, tokens: Sequence[int], start: int, vocabulary: int) -> TokenValues:
    """The values of `tokens[start:]`, all of which were the prompt; `start` is at least 1.

    Raises `NoReply` for what is no completion, and `CallError` for one whose numbers are of no use.
    """
    places = places_of(reply, tokens)[start:]
    pairs = [_pair(place, token, vocabulary) for place, token in zip(places, tokens[start:], strict=True)]
    return TokenValues([q for q, _ in pairs], [v for _, v in pairs])


def places_of(reply: object, tokens: Sequence[int]) -> list[dict[str, Any]]:
    """What the reply has of each token of the prompt: the likeliest ones and the token itself, by their ids."""
    if isinstance(reply, dict) and reply.get("error"):
        raise CallError(failure_in(reply["error"]))
    try:
        choice = reply["choices"][0]  # type: ignore[index]
        places = choice.get("prompt_logprobs")
    except (LookupError, TypeError, AttributeError) as error:
        raise NoReply("the reply is no completion") from error
    if places is None:
        raise _useless("it takes no prompt_logprobs, as only vLLM's server does")
    if not isinstance(places, list) or len(places) != len(tokens):
        raise NoReply(f"the reply is not about the {len(tokens)} tokens that were sent")
    return [place if isinstance(place, dict) else {} for place in places]


def _pair(place: dict[str, Any], token: int, vocabulary: int) -> tuple[float, float]:
    own = place.get(str(token))
    found = {name: _number(row) for name, row in place.items()}
    if own is None or None in found.values():
        raise NoReply(f"the reply lacks the log-probability of token {token}")
    ranks = {row.get("rank") for row in place.values()}
    if len(place) == 1 and ranks != {1}:
        raise _useless("it leaves out the likeliest token of each state; start it with --max-logprobs 1 or more")
    numbers = {name: number for name, number in found.items() if number is not None}
    best = max(numbers, key=lambda name: numbers[name])
    if not -math.inf < numbers[str(token)] <= numbers[best] <= ROUNDING:
        raise _useless(f"it gives token {token} {numbers[str(token)]:g}, which is no log-probability")
    if not best.isdecimal() or int(best) >= vocabulary:
        raise _useless(f"its likeliest token is {best}, and the student has {vocabulary:,}")
    return numbers[str(token)], numbers[best]


def _number(row: object) -> float | None:
    value = row.get("logprob") if isinstance(row, dict) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _useless(reason: str) -> CallError:
    return CallError(Failure("refused", reason))
