"""The calls of a plan, made: first one item as a trial, then all others; each reply is stored as it comes."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ketchup.errors import ServerError
from ketchup.progress import Bar, progress
from ketchup_eval.judge.client import CallError, Judge, Patience, work_through
from ketchup_eval.judge.endpoint import Endpoint
from ketchup_eval.judge.plan import Call, Plan
from ketchup_eval.judge.verdicts import VerdictStore

TRIAL = 4
"""Calls about the first item that must go well before the others are made."""


@dataclass
class Asked:
    """How the calls of one run went: how many replies came, how many calls failed and why, and the seconds."""

    replies: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def ask_missing(
    plan: Plan,
    store: VerdictStore,
    base_url: str,
    *,
    concurrency: int,
    patience: Patience = Patience(),  # noqa: B008  (it is frozen)
    retry_unparsed: bool = False,
    key: str | None = None,
) -> Asked:
    """Asks what the store lacks. Failed calls are counted and stay missing; the same call later asks them again.

    `key` is the server's, by default that of the environment.

    Raises `ServerError` when the server is gone, refuses the requests, or gives no choice in any reply of the trial.
    """
    waiting = plan.to_ask(store, retry_unparsed=retry_unparsed)
    everything = len({call.key for call in (*plan.calls, *plan.repeats)})
    asked = Asked()
    if not waiting:
        return asked
    started = time.monotonic()
    with progress("judge", total=everything, unit="verdicts", done=everything - len(waiting)) as bar:
        try:
            trial = TRIAL if len(waiting) == everything else 0
            endpoint = Endpoint(base_url, key)
            asyncio.run(_ask(plan, store, waiting, trial, endpoint, concurrency, patience, asked, bar))
        finally:
            asked.seconds = time.monotonic() - started
    return asked


async def _ask(
    plan: Plan,
    store: VerdictStore,
    waiting: Sequence[Call],
    trial: int,
    endpoint: Endpoint,
    concurrency: int,
    patience: Patience,
    asked: Asked,
    bar: Bar,
) -> None:
    judge = Judge(endpoint.base_url, plan.settings.sampling, patience, endpoint.key)

    async def one(call: Call, stop: asyncio.Event) -> None:
        # Another seed for another try: the same one would bring the same reply.
        seed = plan.settings.sampling.seed + store.replies.get(call.key, 0) + call.repeat
        query = call.question.query
        try:
            verdict = await judge.ask(query.prompt, call.key, seed, stop)
        except CallError as failure:
            if failure.unreachable:
                raise ServerError(_gone(endpoint, str(failure), len(store.verdicts))) from failure
            if not stop.is_set():
                asked.failed[str(failure)] = asked.failed.get(str(failure), 0) + 1
            return
        store.add(verdict, about(plan, call))
        asked.replies += 1
        failed = sum(asked.failed.values())
        bar.advance(note=f"{failed} failed" if failed else None)

    try:
        if trial:
            await work_through(waiting[:trial], one, concurrency)
            _check_trial(store, waiting[:trial], asked)
        await work_through(waiting[trial:], one, concurrency)
    finally:
        await judge.client.close()


def about(plan: Plan, call: Call) -> dict[str, object]:
    """What a reader of the store wants to know of a question."""
    question = call.question
    return {
        "item": question.pair.item,
        "criterion": question.criterion,
        "a": question.pair.system,
        "b": plan.settings.b,
        "variant": question.variant,
        "first_id": question.query.first_id,
        "repeat": call.repeat,
        "model": plan.settings.sampling.model,
        "prompt_hash": plan.prompt_hash(question.criterion),
    }


def _check_trial(store: VerdictStore, trial: Sequence[Call], asked: Asked) -> None:
    verdicts = [store.verdicts[call.key] for call in trial if call.key in store.verdicts]
    if not verdicts:
        reasons = "; ".join(asked.failed)
        raise ServerError(f"All calls about the first item failed ({reasons}); mend the server and run again.")
    if all(verdict.preferred is None for verdict in verdicts):
        first = verdicts[0]
        raise ServerError(
            f"No reply about the first item says which output it prefers (the first is {first.state}: "
            f"{first.reply[-120:]!r}); choose another --model, or run the same command again to go on all the same."
        )


def _gone(endpoint: Endpoint, reason: str, stored: int) -> str:
    return (
        f"{endpoint.shown} cannot be reached{endpoint.through} ({reason}); {stored:,} verdicts are stored: start the "
        "server and run the same command again."
    )
