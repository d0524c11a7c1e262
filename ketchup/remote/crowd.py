"""Many calls at once: bounded in number, started in order, stopped in good order."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

GRACE = 5.0
"""Seconds that calls in flight have to finish when the work stops."""
SPACING = 0.005
"""Seconds between the first calls. Calls made at once are answered at once, and then all wait for each other's turn."""
MOST_AT_ONCE = 1000
"""Connections that the client opens; a call beyond them would wait for one while its time runs."""

_Item = TypeVar("_Item")


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
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, interrupt)
    try:
        workers = [asyncio.create_task(worker(number)) for number in range(min(concurrency, len(items), MOST_AT_ONCE))]
        stopping = asyncio.create_task(stop.wait())
        finished = asyncio.gather(*workers, return_exceptions=True)
        either: list[asyncio.Future[Any]] = [finished, stopping]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([finished], timeout=None if not stop.is_set() else GRACE)
        for task in (*workers, stopping):
            task.cancel()
        results = await finished
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if interrupted:
        raise KeyboardInterrupt
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result
