"""Commands started by another command, which they must not outlive: also where that one is killed."""

import os
import threading
from collections.abc import Mapping

WATCHED = "KETCHUP_WATCHED"


def watched(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child, whose standard input must be a pipe that its parent holds open."""
    return {**environment, WATCHED: "1"}


def end_with_parent() -> None:
    """In such a child, from now on: when the parent closes its end, as the system does too if it dies, all ends."""
    if os.environ.pop(WATCHED, None):
        threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    os.read(0, 1)
    os._exit(1)
