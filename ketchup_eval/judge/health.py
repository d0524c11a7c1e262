"""Whether a server can judge: each thing that a run needs, tried once, with a plain sentence."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import openai

from ketchup.errors import ServerError
from ketchup_eval.judge.client import CallError, Judge, Patience
from ketchup_eval.judge.settings import Sampling

WORDS = ("zebra", "quartz")
"""Replies that no model gives by chance."""
LONGEST_PROMPT = 4096
"""Tokens that the prompts of the paper's tasks stay under."""
ITEM = """Compare two summaries of the same document for their overall quality.

Document: The council of Leeds voted on Monday to close the old bridge for a year of repairs.

Summary [A]: Leeds closes its old bridge for a year of repairs.

Summary [B]: Bananas are yellow.

FIRST, write one sentence that compares the two summaries and explains which of them you prefer.
SECOND, on a new line, write only the ID of that summary. Reply in this format:
Overall quality: <one sentence that compares and explains>
Preferred: <summary ID>"""


@dataclass(frozen=True)
class Check:
    """One thing that was tried; `sentence` says what was found and, if it is not `well`, what to do."""

    name: str
    well: bool
    sentence: str


def checks(base_url: str, sampling: Sampling) -> list[Check]:
    """Tries everything in turn; what needs a server or model that is not there is left out."""
    return asyncio.run(_all(base_url, sampling))


def check_constrained(base_url: str, sampling: Sampling, key: str | None = None) -> None:
    """Raises a `ServerError` unless the server honours `structured_outputs`, which others ignore in silence."""
    check = asyncio.run(_once(base_url, sampling, key))
    if not check.well:
        raise ServerError(check.sentence)


async def _all(base_url: str, sampling: Sampling) -> list[Check]:
    judge = Judge(base_url, replace(sampling, logprobs=True, constrained=False), Patience(attempts=1, timeout=120))
    async with judge.client:
        return [check async for check in _in_turn(judge)]


async def _in_turn(judge: Judge) -> AsyncIterator[Check]:
    try:
        models = {model.id: model async for model in judge.client.models.list()}
    except openai.APIError as error:
        advice = "start it or name another --base-url"
        yield Check("server", False, f"{judge.endpoint.shown} does not answer ({error}); {advice}.")
        return
    yield Check("server", True, f"{judge.endpoint.shown} answers.")
    name = judge.sampling.model
    if name not in models:
        known = ", ".join(models) or "none"
        yield Check("model", False, f"The server has no model {name!r}; name one of its own with --model: {known}.")
        return
    yield Check("model", True, f"The server has {name}.")
    yield _context(getattr(models[name], "max_model_len", None))
    try:
        verdict = await judge.ask(ITEM, "doctor", judge.sampling.seed)
    except (CallError, ServerError) as error:
        yield Check("reply", False, f"A call failed ({error}); look into the server's log.")
        return
    if verdict.preferred is None:
        end = f"{verdict.state}: {verdict.reply[-120:]!r}"
        yield Check("reply", False, f"The reply has no choice ({end}); use a better model.")
    else:
        best = "the right one" if verdict.preferred == "A" else "the wrong one: expect little of this judge"
        yield Check("reply", True, f"A reply prefers {verdict.preferred}, {best} ({verdict.seconds:.1f} s).")
    if verdict.probability_of_a is None:
        yield Check("logprobs", False, "The reply has no probability of its choice; leave --logprobs out.")
    else:
        yield Check("logprobs", True, f"The probability of A against B is {verdict.probability_of_a:.2f}.")
    yield await _constrained(judge)


def _context(length: object) -> Check:
    if not isinstance(length, int):
        return Check("context", True, "The server does not say how long a prompt may be.")
    if length < LONGEST_PROMPT:
        advice = f"start it with a context of {LONGEST_PROMPT:,}"
        return Check("context", False, f"Prompts may have {length:,} tokens, too few for long inputs; {advice}.")
    return Check("context", True, f"Prompts may have {length:,} tokens.")


async def _once(base_url: str, sampling: Sampling, key: str | None) -> Check:
    judge = Judge(base_url, sampling, Patience(attempts=3, timeout=120), key)
    async with judge.client:
        return await _constrained(judge)


async def _constrained(judge: Judge) -> Check:
    try:
        completion = await judge.client.chat.completions.create(
            model=judge.sampling.model,
            messages=[{"role": "user", "content": "Say hello."}],
            max_tokens=16,
            temperature=0,
            extra_body={"structured_outputs": {"choice": list(WORDS)}},
        )
        reply = completion.choices[0].message.content or ""
    except openai.APIError as error:
        return Check("constrained", False, f"structured_outputs is refused ({error}); leave --constrained out.")
    if reply.strip() in WORDS:
        return Check("constrained", True, "structured_outputs is honoured.")
    return Check("constrained", False, "The server ignores structured_outputs; leave --constrained out, or use vLLM.")
