"""How many CPU threads the heavy libraries may use."""

import os

from ketchup import checks
from ketchup.machine import cores


def use_threads(threads: int | None) -> None:
    """Limits torch (and CTranslate2, which follows it) to `threads`.

    `None` means all that this process may run on, shared with the other processes that a launcher started beside it.
    """
    checks.whole("--threads", threads, most=checks.MOST_WORKERS)
    import torch

    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(threads or max(1, cores() // beside))
