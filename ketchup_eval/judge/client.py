"""Calls to an OpenAI-compatible server: bounded in number, tried again where that can help, stopped in good order."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import openai
from openai.types.chat import ChatCompletion

from ketchup.errors import ServerError
from ketchup.redaction import redacted
from ketchup_eval.judge.endpoint import KEY_VARIABLE, Endpoint
from ketchup_eval.judge.replies import preference_for_a
from ketchup_eval.judge.settings import Sampling
from ketchup_eval.judge.verdicts import Verdict

RETRIED = frozenset({408, 409, 429})
"""Statuses, beside 5xx, after which the same call may succeed."""
LONGEST_RETRY_AFTER = 120.0
GRACE = 5.0
"""Seconds that calls in flight have to finish when the work stops."""
SPACING = 0.005
"""Seconds between the first calls. Calls made at once are answered at once, and then all wait for each other's turn."""
TOKENS_OF_CHOICE = 20
"""More than any tokenizer needs for the last line."""
TOO_LONG = ("maximum context length", "context_length_exceeded", "input_tokens", "max_model_len", "prompt is too long")

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Patience:
    """How often a call is tried and how long it may take, in seconds.

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


class CallError(Exception):
    """A call failed at every attempt, or in a way that another attempt cannot mend."""

    def __init__(self, reason: str, *, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.unreachable = unreachable


@dataclass
class Judge:
    """A model behind a server. One client per event loop: make it inside the one that uses it.

    `key` is the server's, by default that of the environment.
    """

    base_url: str
    sampling: Sampling
    patience: Patience = Patience()
    key: str | None = None
    client: openai.AsyncOpenAI = field(init=False)

    def __post_init__(self) -> None:
        # The clock of a timeout runs while a call waits for a connection, so only reading has one.
        timeout = openai.Timeout(self.patience.timeout, connect=None, pool=None)
        self.client = self.endpoint.client(timeout)

    @property
    def endpoint(self) -> Endpoint:
        """How the server is reached, and its address as it may be shown."""
        return Endpoint(self.base_url, self.key)

    async def ask(self, prompt: str, key: str, seed: int, stop: asyncio.Event | None = None) -> Verdict:
        """The verdict on a prompt. Raises `CallError`, or a `ServerError` that no call could escape.

        Once `stop` is set, a call that would have to wait for another attempt fails.
        """
        for attempt in range(1, self.patience.attempts + 1):
            start = time.monotonic()
            try:
                completion = await self._complete(prompt, seed)
                return self._verdict(completion, key, attempt, time.monotonic() - start)
            except openai.BadRequestError as error:
                if not any(sign in str(error) for sign in TOO_LONG):
                    raise ServerError(
                        f"{self.endpoint.shown} refuses the request ({_reason(error)}); mend it."
                    ) from error
                return Verdict(key, _reason(error), too_long=True, attempts=attempt)
            except Exception as error:
                wait = self._wait(error, attempt)
                if attempt == self.patience.attempts:
                    lost = isinstance(error, openai.APIConnectionError) and not isinstance(
                        error, openai.APITimeoutError
                    )
                    raise CallError(_reason(error), unreachable=lost) from error
                await _pause(wait, stop)
        raise AssertionError("the last attempt returns or raises")

    async def _complete(self, prompt: str, seed: int) -> ChatCompletion:
        sampling = self.sampling
        options: dict[str, Any] = {"logprobs": True, "top_logprobs": 20} if sampling.logprobs else {}
        if sampling.constrained:
            options["extra_body"] = {"structured_outputs": {"regex": reply_form(sampling.max_tokens)}}
        completion = await self.client.chat.completions.create(
            model=sampling.model,
            messages=[{"role": "user", "content": prompt}],
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            seed=seed,
            **options,
        )
        if not (isinstance(completion, ChatCompletion) and completion.choices and completion.choices[0].message):
            raise ValueError("the reply is no chat completion")
        return completion

    def _verdict(self, completion: ChatCompletion, key: str, attempts: int, seconds: float) -> Verdict:
        choice, usage = completion.choices[0], completion.usage
        reply = choice.message.content or ""
        details = usage.prompt_tokens_details if usage else None
        return Verdict(
            key=key,
            reply=reply,
            finish_reason=choice.finish_reason,
            usage={
                "prompt": usage.prompt_tokens if usage else None,
                "completion": usage.completion_tokens if usage else None,
                "cached": details.cached_tokens if details else None,
            },
            seconds=round(seconds, 4),
            attempts=attempts,
            server_model=completion.model,
            probability_of_a=_probability_of_a(choice, reply),
        )

    def _wait(self, error: Exception, attempt: int) -> float:
        """How long to wait before another attempt; raises a `ServerError` where none can help."""
        if isinstance(error, openai.APIStatusError):
            status = error.status_code
            if status == 404:
                raise ServerError(
                    f"{self.endpoint.shown} has no model {self.sampling.model!r} ({_reason(error)}); "
                    "name one that it serves with --model, or check --base-url."
                ) from error
            if status in (401, 403):
                raise ServerError(
                    f"{self.endpoint.shown} refuses the key ({_reason(error)}); put a valid one into {KEY_VARIABLE}."
                ) from error
            if status not in RETRIED and status < 500:
                raise ServerError(f"{self.endpoint.shown} refuses the request ({_reason(error)}); mend it.") from error
            asked = _seconds(error.response.headers.get("retry-after"))
            if asked is not None:
                return min(asked, LONGEST_RETRY_AFTER) + random.uniform(0, self.patience.first_wait)
        elif not isinstance(error, (openai.APIError, ValueError)):  # ValueError: JSON that is cut off
            raise error
        return self.patience.wait(attempt)


def reply_form(max_tokens: int) -> str:
    """A regular expression of replies under `constrained`: one line of explanation, then the choice.

    A token has at least one character, so a line of that many leaves room for the choice.
    """
    return rf"[^\n]{{1,{max(1, max_tokens - TOKENS_OF_CHOICE)}}}\nPreferred: (A|B)"


async def work_through(
    items: Sequence[_Item], work: Callable[[_Item, asyncio.Event], Awaitable[None]], concurrency: int
) -> None:
    """Does `work` on every item, at most `concurrency` at once, started in their order, the first ones `SPACING` apart.

    Should one raise, or this process be interrupted, no item is started any more; what is in flight has `GRACE`
    seconds to finish. Then the error is raised, or `KeyboardInterrupt`.
    """
    stop = asyncio.Event()
    queue = iter(items)
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        stop.set()

    async def worker(number: int) -> None:
        try:
            await asyncio.sleep(number * SPACING)
            for item in queue:
                if stop.is_set():
                    return
                await work(item, stop)
        except BaseException:
            stop.set()
            raise

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        workers = [asyncio.create_task(worker(number)) for number in range(min(concurrency, len(items)))]
        stopping = asyncio.create_task(stop.wait())
        finished = asyncio.gather(*workers, return_exceptions=True)
        either: list[asyncio.Future[Any]] = [finished, stopping]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([finished], timeout=None if not stop.is_set() else GRACE)
        for task in (*workers, stopping):
            task.cancel()
        results = await finished
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    if interrupted:
        raise KeyboardInterrupt
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result


async def _pause(seconds: float, stop: asyncio.Event | None) -> None:
    if stop is None:
        await asyncio.sleep(seconds)
        return
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
    raise CallError("stopped before another attempt")


def _probability_of_a(choice: Any, reply: str) -> float | None:
    content = choice.logprobs.content if choice.logprobs else None
    if not content:
        return None
    likely = [{top.token: top.logprob for top in token.top_logprobs} for token in content]
    return preference_for_a(reply, [token.token for token in content], likely)


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    """The first line of an error, and what caused it where the client says only that it could not connect."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    cause = f": {error.__cause__}" if isinstance(error, openai.APIConnectionError) and error.__cause__ else ""
    return redacted(lines[0].rstrip(".") + cause)[:300]
