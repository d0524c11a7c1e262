"""One call to a server: tried as often as that can help, each try bounded in time and on a connection of its own."""

import asyncio
import json
import random
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import openai

from ketchup.progress import clock
from ketchup.remote.endpoint import Endpoint
from ketchup.remote.failures import CallError, Failure, NoReply, failure_of

LONGEST_WAIT_ASKED = 120.0
"""Seconds that a server may ask to wait. It has no use for more calls in a longer time, nor has a run for it."""
_NUMBER = re.compile("ketchup-[0-9a-f]{32}")
"""The number of a request, which vLLM and others repeat in the reply's `id`."""

Read = TypeVar("Read")


@dataclass(frozen=True)
class Patience:
    """How often a call is tried and how long a try may take altogether, in seconds.

    Before try k+1 it waits `first_wait` x 2^(k-1), at most `longest_wait`, times a random factor of 0.5 to 1, or as
    long as the server asks.
    """

    attempts: int = 8
    first_wait: float = 0.5
    longest_wait: float = 30.0
    timeout: float = 600.0

    def wait(self, attempt: int) -> float:
        """Seconds after failed attempt `attempt`, counted from 1."""
        return min(self.longest_wait, self.first_wait * 2 ** (attempt - 1)) * random.uniform(0.5, 1)


@dataclass(frozen=True)
class Answer(Generic[Read]):
    """What was read from a reply, how many tries it took, and the seconds of the last one."""

    content: Read
    attempts: int
    seconds: float


@dataclass
class Server:
    """An OpenAI-compatible server. One per event loop: make it inside the one that uses it."""

    endpoint: Endpoint
    patience: Patience = Patience()
    client: openai.AsyncOpenAI = field(init=False)

    def __post_init__(self) -> None:
        # A little less than a whole try: the client closes what hangs in one phase, where cancelling it may not.
        self.client = self.endpoint.client(0.95 * self.patience.timeout)

    async def call(
        self, path: str, body: Mapping[str, Any], read: Callable[[object], Read], stop: asyncio.Event | None = None
    ) -> Answer[Read]:
        """Posts `body` and reads the JSON that comes back; raises `CallError` where no further try can help.

        `read` raises `NoReply` for what is no reply, and `CallError` for a failure in the form of one. Once `stop` is
        set, a call that would have to wait for another try fails.
        """
        for attempt in range(1, self.patience.attempts + 1):
            start = time.monotonic()
            try:
                content = read(await self._post(path, body))
                return Answer(content, attempt, time.monotonic() - start)
            except CallError as error:
                cause: Exception = error
                failure = error.failure
            except Exception as error:
                cause, failure = error, failure_of(error)
            if failure.wait and failure.wait > LONGEST_WAIT_ASKED:
                reason = f"the server asks to wait {clock(failure.wait)} ({failure.reason})"
                raise CallError(replace(failure, reason=reason)) from cause
            if failure.kind != "passing" or attempt == self.patience.attempts:
                raise CallError(failure) from cause
            await _pause(self._wait(failure, attempt), stop)
        raise AssertionError("the last attempt returns or raises")

    async def _post(self, path: str, body: Mapping[str, Any]) -> object:
        """One try. What comes back is of this very request, or a `NoReply`."""
        number = f"ketchup-{uuid.uuid4().hex}"
        try:
            async with asyncio.timeout(self.patience.timeout):
                text = await self.client.post(
                    path, cast_to=str, body=dict(body), options={"headers": {"X-Request-Id": number}}
                )
        except TimeoutError as error:
            raise NoReply(f"there was no whole reply within {self.patience.timeout:g} s") from error
        try:
            reply = json.loads(text)
        except (ValueError, RecursionError) as error:
            start = " ".join(text.split())[:120]
            raise NoReply(f"the reply is no JSON ({start or 'it is empty'})") from error
        named = _NUMBER.search(str(reply.get("id"))) if isinstance(reply, dict) else None
        if named and named[0] != number:
            raise NoReply("the reply belongs to another request, as its id says")
        return reply

    def _wait(self, failure: Failure, attempt: int) -> float:
        """How long to wait before another try."""
        if not failure.wait:
            return self.patience.wait(attempt)
        return failure.wait + random.uniform(0, self.patience.first_wait)


async def _pause(seconds: float, stop: asyncio.Event | None) -> None:
    if stop is None:
        await asyncio.sleep(seconds)
        return
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
    raise CallError(Failure("passing", "stopped before another attempt"))
