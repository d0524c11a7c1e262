"""Whether a server can judge: each thing that a run needs or can use, tried once, with a plain sentence."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import openai

from ketchup.errors import ServerError
from ketchup.remote.calls import Patience
from ketchup.remote.failures import CallError, failure_of
from ketchup.remote.listing import LONGEST_TRY, Listing, listing, named
from ketchup_eval.judge.client import Judge
from ketchup_eval.judge.judge_settings import ReplySettings
from ketchup_eval.judge.verdicts import Verdict

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
    """One thing that was tried; `sentence` says what was found and, if it is not `well`, what to do.

    What is not `needed` is of use to a judge that can also do without it.
    """

    name: str
    well: bool
    sentence: str
    needed: bool = True


def checks(base_url: str, sampling: ReplySettings) -> list[Check]:
    """Tries everything in turn; what needs a server or model that is not there is left out."""
    return asyncio.run(_all(base_url, sampling))


def check_constrained(base_url: str, sampling: ReplySettings, key: str | None = None) -> None:
    """Raises a `ServerError` unless the server honours `structured_outputs`, which others ignore in silence."""
    check = asyncio.run(_once(base_url, sampling, key))
    if not check.well:
        raise ServerError(check.sentence)


async def _all(base_url: str, sampling: ReplySettings) -> list[Check]:
    try:
        judge = Judge(
            base_url, replace(sampling, logprobs=False, constrained=False), Patience(attempts=1, timeout=LONGEST_TRY)
        )
    except ServerError as error:
        return [Check("server", False, str(error))]
    async with judge.client:
        return [check async for check in _in_turn(judge)]


async def _in_turn(judge: Judge) -> AsyncIterator[Check]:
    endpoint = judge.endpoint
    try:
        listed = await listing(judge.client, LONGEST_TRY)
    except openai.APIConnectionError as error:
        yield Check("server", False, judge.asked.gone(failure_of(error).reason))
        return
    yield Check("server", True, f"{endpoint.shown} answers.")
    # Not every server lists its models, or all of them; whether one judges is seen by asking it.
    verdict, refusal = await _verdict(judge, judge.sampling)
    model = _model(judge.sampling.model, listed, answers=verdict is not None)
    yield model
    if not model.well and model.needed:
        return
    yield _context(listed.context(judge.sampling.model))
    if verdict is None:
        yield Check("reply", False, refusal)
        return
    yield _reply(verdict)
    scored, refusal = await _verdict(judge, replace(judge.sampling, logprobs=True))
    yield _logprobs(scored, refusal)
    yield await _constrained(judge)


async def _verdict(judge: Judge, sampling: ReplySettings) -> tuple[Verdict | None, str]:
    """What the model replies about an easy item, or else a sentence on why there is no reply."""
    other = Judge(judge.base_url, sampling, judge.patience, judge.key)
    async with other.client:
        try:
            return await other.ask(ITEM, "doctor", sampling.seed), ""
        except CallError as error:
            return None, judge.asked.remedy(error.failure) or f"A call failed ({error}); look into the server's log."


def _model(name: str, listed: Listing, *, answers: bool) -> Check:
    if name in listed.models:
        return Check("model", True, f"The server has {name}.")
    if listed.odd:
        remedy = "check that --base-url is the address of its API, which mostly ends in /v1"
        return Check("model", False, f"{listed.fault}; {remedy}.", needed=False)
    if listed.fault is not None:
        return Check("model", True, f"{listed.fault}.")
    if answers:
        return Check("model", True, f"The server has {name}, which it does not list.")
    known = named(name, list(listed.models))
    return Check("model", False, f"The server has no model {name!r}; name one of its own with --model: {known}.")


def _context(length: int | None) -> Check:
    if length is None:
        return Check("context", True, "The server does not say how long a prompt may be.")
    if length < LONGEST_PROMPT:
        advice = f"start it with a context of {LONGEST_PROMPT:,}"
        return Check("context", False, f"Prompts may have {length:,} tokens, too few for long inputs; {advice}.")
    return Check("context", True, f"Prompts may have {length:,} tokens.")


def _reply(verdict: Verdict) -> Check:
    if verdict.preferred is None:
        end = f"{verdict.state}: {verdict.reply[-120:]!r}"
        return Check("reply", False, f"The reply has no choice ({end}); use a better model.")
    best = "the right one" if verdict.preferred == "A" else "the wrong one: expect little of this judge"
    return Check("reply", True, f"A reply prefers {verdict.preferred}, {best} ({verdict.seconds:.1f} s).")


def _logprobs(verdict: Verdict | None, refusal: str) -> Check:
    if verdict is not None and verdict.probability_of_a is not None:
        found = f"The probability of A against B is {verdict.probability_of_a:.2f}."
        return Check("logprobs", True, found, needed=False)
    fault = "The reply has no probability of its choice" if verdict else f"They are refused ({refusal.rstrip('.')})"
    return Check("logprobs", False, f"{fault}; leave --logprobs out.", needed=False)


async def _once(base_url: str, sampling: ReplySettings, key: str | None) -> Check:
    judge = Judge(base_url, sampling, Patience(attempts=3, timeout=LONGEST_TRY), key)
    async with judge.client:
        return await _constrained(judge)


async def _constrained(judge: Judge) -> Check:
    parameters = {"max_tokens": 16, "temperature": 0, "structured_outputs": {"choice": list(WORDS)}}
    try:
        reply = (await judge.complete("Say hello.", parameters)).content.text
    except CallError as error:
        return Check("constrained", False, _without_constraint(judge, error), needed=False)
    if reply.strip() in WORDS:
        return Check("constrained", True, "structured_outputs is honoured.", needed=False)
    sentence = "The server ignores structured_outputs; leave --constrained out, or use vLLM."
    return Check("constrained", False, sentence, needed=False)


def _without_constraint(judge: Judge, error: CallError) -> str:
    if error.failure.unreachable:
        return judge.asked.gone(str(error))
    refused = f"structured_outputs is refused ({error}); leave --constrained out."
    return judge.asked.remedy(error.failure) or refused
