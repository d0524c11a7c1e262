"""The calls of a plan, made: first one item as a trial, then all others; each reply is stored as it comes.

A server that refuses one prompt may answer all others, so no refusal ends a run but one that no call can escape: a
wrong key, a model that is not there, credit that is used up, or nothing but refusals.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ketchup.errors import ServerError
from ketchup.progress import Bar, progress
from ketchup.remote.calls import Patience
from ketchup.remote.crowd import work_through
from ketchup.remote.endpoint import Endpoint
from ketchup.remote.failures import NOT_OF_PROMPTS, OF_PROMPTS, CallError, Failure
from ketchup_eval.judge.client import OTHER_NAMES, Judge
from ketchup_eval.judge.plan import Call, Plan
from ketchup_eval.judge.verdicts import Verdict, VerdictStore

TRIAL = 4
"""Calls about the first item that must go well before the others are made."""
OTHER_ITEMS = 16
"""Further items that one call each is about, where none about the first item was answered."""
FAILURES_IN_A_ROW = 16
"""Calls that fail, with no reply in between, before a question that was answered is asked again to tell why."""

FIXES = {
    "logprobs": "leave --logprobs out",
    "structured_outputs": "leave --constrained out",
    "temperature": "change --temperature",
    "max_tokens": "change --max-tokens",
}
"""What helps where a server's refusal names a parameter that is the user's to choose."""


@dataclass
class Asked:
    """How the calls of one run went: how many replies came, the items of failed calls by reason, and the seconds."""

    replies: int = 0
    failed: dict[str, list[str]] = field(default_factory=dict)
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

    Raises `ServerError` when the server is gone, refuses all requests, or gives no choice in any reply of the trial.
    """
    waiting = plan.to_ask(store, retry_unparsed=retry_unparsed)
    everything = len({call.key for call in (*plan.calls, *plan.repeats)})
    asked = Asked()
    if not waiting:
        return asked
    started = time.monotonic()
    with progress("judge", total=everything, unit="verdicts", done=everything - len(waiting)) as bar:
        try:
            asyncio.run(_ask(plan, store, waiting, Endpoint(base_url, key), concurrency, patience, asked, bar))
        finally:
            asked.seconds = time.monotonic() - started
    return asked


async def _ask(
    plan: Plan,
    store: VerdictStore,
    waiting: Sequence[Call],
    endpoint: Endpoint,
    concurrency: int,
    patience: Patience,
    asked: Asked,
    bar: Bar,
) -> None:
    known = [store.verdicts[call.key] for call in plan.calls if call.key in store.verdicts]
    earlier = next((verdict.adapted for verdict in reversed(known) if not verdict.is_refusal), {})
    adapted = {name: OTHER_NAMES[name] for name in earlier if name in OTHER_NAMES}
    judge = Judge(endpoint.base_url, plan.settings.sampling, patience, endpoint.key, adapted)
    asking = _Asking(plan, store, judge, asked, bar)
    async with judge.client:
        trial: list[Call] = []
        if not known:
            trial = await asking.trial(waiting, concurrency)
        tried = {call.key for call in trial}
        await work_through([call for call in waiting if call.key not in tried], asking.ask, concurrency)
        await asking.settle()


@dataclass(frozen=True)
class _Refused:
    call: Call
    failure: Failure
    at: float


class _Asking:
    """One run's calls, and whose fault it is where they fail.

    A refusal is `held`, and stored as its item's own only when the server has been seen to answer: at all, if its words
    are about the prompt, else a call that was made after it.
    """

    def __init__(self, plan: Plan, store: VerdictStore, judge: Judge, asked: Asked, bar: Bar) -> None:
        self.plan, self.store, self.judge, self.asked, self.bar = plan, store, judge, asked, bar
        known = (call for call in plan.calls if call.key in store.verdicts)
        self.answered: Call | None = next((call for call in known if not store.verdicts[call.key].is_refusal), None)
        self.held: list[_Refused] = []
        self.in_a_row = 0
        self.probing = asyncio.Lock()
        self.fault: ServerError | None = None

    async def trial(self, waiting: Sequence[Call], concurrency: int) -> list[Call]:
        """Asks about the first item, and about others if that one fails; what was asked."""
        calls = list(waiting[:TRIAL])
        await work_through(calls, self.ask, concurrency)
        if not self.asked.replies:
            item = waiting[0].question.pair.item
            others = {call.question.pair.item: call for call in reversed(waiting) if call.question.pair.item != item}
            more = list(others.values())[::-1][:OTHER_ITEMS]
            await work_through(more, self.ask, concurrency)
            calls += more
        if not self.asked.replies:
            raise ServerError(self._nothing_but_failures(calls))
        self._check_choices(calls)
        return calls

    async def ask(self, call: Call, stop: asyncio.Event) -> None:
        """One call, and what becomes of it."""
        started = time.monotonic()
        try:
            verdict = await self._call(call, stop)
        except CallError as error:
            await self._failed(call, error.failure, stop)
            return
        self.store.add(verdict, about(self.plan, call))
        self.asked.replies += 1
        self.answered = self.answered or call
        self.in_a_row = 0
        self._store_refusals(started)
        self.bar.advance(note=self._note())

    async def settle(self) -> None:
        """Decides on the refusals that no later reply has decided on."""
        if self.held and self.answered:
            await self._probe(0)
        for refused in self.held:
            self._count_failed(refused.call, refused.failure)

    async def _call(self, call: Call, stop: asyncio.Event | None = None) -> Verdict:
        # Another seed for another try: the same one would bring the same reply.
        seed = self.plan.settings.sampling.seed + self.store.replies.get(call.key, 0) + call.repeat
        return await self.judge.ask(call.question.query.prompt, call.key, seed, stop)

    async def _failed(self, call: Call, failure: Failure, stop: asyncio.Event) -> None:
        if failure.unreachable:
            raise ServerError(self._gone(failure))
        if failure.kind in NOT_OF_PROMPTS and (not self.asked.replies or failure.status in (402, 429)):
            raise ServerError(self._sentence(failure))
        if failure.kind != "passing":
            self.held.append(_Refused(call, failure, time.monotonic()))
        elif stop.is_set():
            return
        else:
            self._count_failed(call, failure)
        if failure.kind in OF_PROMPTS:
            if self.answered:
                self._store_refusals()
            return
        self.in_a_row += 1
        await self._probe(FAILURES_IN_A_ROW)

    def _store_refusals(self, started: float = -math.inf) -> None:
        """Stores those that are their items' own, given that a call made at the time `started` was answered."""
        own = [row for row in self.held if row.failure.kind in OF_PROMPTS or row.at < started]
        self.held = [row for row in self.held if row not in own]
        for row in own:
            too_long = row.failure.kind == "too_long"
            verdict = Verdict(row.call.key, row.failure.reason, too_long=too_long, refused=not too_long)
            self.store.add(verdict, about(self.plan, row.call))
            self.bar.advance(note=self._note())

    async def _probe(self, in_a_row: int) -> None:
        """After so many failures, asks again what was answered before; if that fails too, the server is at fault."""
        async with self.probing:
            if self.fault:
                raise self.fault
            if self.in_a_row < in_a_row or not self.answered:
                return
            started = time.monotonic()
            try:
                await self._call(self.answered)
            except CallError as error:
                self.fault = ServerError(self._sentence(error.failure))
                raise self.fault from error
            self.in_a_row = 0
            self._store_refusals(started)

    def _count_failed(self, call: Call, failure: Failure) -> None:
        self.asked.failed.setdefault(failure.reason, []).append(call.question.pair.item)

    def _note(self) -> str | None:
        failed = sum(map(len, self.asked.failed.values()))
        return f"{failed} failed" if failed else None

    def _check_choices(self, trial: Sequence[Call]) -> None:
        verdicts = [self.store.verdicts[call.key] for call in trial if call.key in self.store.verdicts]
        replies = [verdict for verdict in verdicts if not verdict.is_refusal]
        if all(verdict.preferred is None for verdict in replies):
            first = replies[0]
            fix = "raise --max-tokens" if first.state == "cut" else "choose another --model"
            raise ServerError(
                f"No reply about the first {_items(trial)} says which output it prefers (the first is {first.state}: "
                f"{first.reply[-120:]!r}); {fix}, or run the same command again to go on all the same."
            )

    def _nothing_but_failures(self, calls: Sequence[Call]) -> str:
        which = _items(calls)
        if self.held and not self.asked.failed:
            return self._sentence(self.held[0].failure, f" all calls about the first {which}")
        reasons = "; ".join(dict.fromkeys([*self.asked.failed, *(row.failure.reason for row in self.held)]))
        return f"All calls about the first {which} failed ({reasons}); mend the server and run again."

    def _sentence(self, failure: Failure, whom: str = " what it answered before") -> str:
        """What no call can escape, with the fix."""
        remedy = self.judge.asked.remedy(failure)
        if remedy:
            return remedy
        shown = self.judge.endpoint.shown
        if failure.kind == "passing":
            again = "run the same command again when that is mended"
            return f"{shown} answers no more ({failure.reason}); {self._stored()}: {again}."
        fix = next((fix for name, fix in FIXES.items() if name in failure.said), "mend the request or the server")
        return f"{shown} refuses{whom} ({failure.reason}); {fix}."

    def _gone(self, failure: Failure) -> str:
        fix = f"{self._stored()}: start the server and run the same command again"
        return self.judge.asked.gone(failure.reason, fix)

    def _stored(self) -> str:
        return f"{len(self.store.verdicts):,} verdicts are stored"


def _items(calls: Sequence[Call]) -> str:
    number = len({call.question.pair.item for call in calls})
    return "item" if number == 1 else f"{number} items"


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
