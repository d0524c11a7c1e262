"""The models that a server lists, and how it is said that one is not among them."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import openai

from ketchup.remote.failures import failure_of

CONTEXT_FIELDS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""What servers call the longest prompt, in tokens."""
LONGEST_TRY = 120.0
"""Seconds that a list, and each thing that is tried of a server, may take."""
MOST_NAMES = 10
"""Models that a sentence names."""


@dataclass(frozen=True)
class Listing:
    """The models that a server lists, each with what it says of it, or why there is no such list."""

    models: dict[str, dict[str, Any]]
    fault: str | None = None
    odd: bool = False
    """Whether what came is no list at all, as from an address that is not the API's."""

    def context(self, name: str) -> int | None:
        """The most tokens that a model reads, prompt and output together, if the server says so."""
        row = self.models.get(name, {})
        return next((row[field] for field in CONTEXT_FIELDS if type(row.get(field)) is int), None)


async def listing(client: openai.AsyncOpenAI, seconds: float = LONGEST_TRY) -> Listing:
    """What the server lists within so many seconds; raises `openai.APIConnectionError` if it cannot be reached."""
    try:
        async with asyncio.timeout(seconds):
            raw = await client.models.with_raw_response.list()
    except TimeoutError:
        return Listing({}, f"The server did not list its models within {seconds:g} s")
    except openai.APIStatusError as error:
        return Listing({}, f"The server does not list its models ({failure_of(error).reason})")
    text = raw.content.decode(errors="replace")
    try:
        content = json.loads(text)
        rows = content if isinstance(content, list) else content["data"]
        models = {str(row.get("id") or row["name"]): row for row in rows}
    except (ValueError, LookupError, TypeError, AttributeError):
        return Listing({}, f"The server's list of models cannot be read ({' '.join(text.split())[:60]!r})", odd=True)
    return Listing(models)


def named(wanted: str, names: Sequence[str]) -> str:
    """The names of a server's models for a sentence: all, or of many those most like the wanted one."""
    shown = get_close_matches(wanted, names, n=MOST_NAMES, cutoff=0) if len(names) > MOST_NAMES else list(names)
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return (", ".join(shown) or "none") + more
