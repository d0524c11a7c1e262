"""Ctrl-C ends the program with one line and exit code 130, also while it is still being loaded.

Python's own way is to raise `KeyboardInterrupt` wherever the program stands. While modules are imported that ends in a
traceback, or in nothing at all where an import catches everything. Nothing is lost there: the process can end.
"""

import os
import signal
from types import FrameType

EXIT_INTERRUPTED = 130
IMPORTING = "<frozen importlib._bootstrap>"


def leave_at_once() -> None:
    """From now on Ctrl-C ends the process; unless whoever started it wants it to be ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def raise_where_work_is_done() -> None:
    """From now on Ctrl-C raises `KeyboardInterrupt`, but for the time of an import; does nothing in other programs."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, _raise)


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    os.write(2, b"Interrupted.\n")
    os._exit(EXIT_INTERRUPTED)


def _raise(number: int, frame: FrameType | None) -> None:
    place = frame
    while place is not None:
        if place.f_code.co_filename == IMPORTING:
            _leave(number, frame)
        place = place.f_back
    raise KeyboardInterrupt
