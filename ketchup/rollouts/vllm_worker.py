"""What vLLM's own processes are asked for beyond what they can: they find the class by its name and inherit from it.

A call of theirs carries names and plain values alone, so that weights pass by a file.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

import psutil
from safetensors import safe_open


class WorkerExtension:
    """Added to vLLM's worker in each of its processes: see vLLM's `worker_extension_cls`."""

    reload_weights: Callable[..., Any]

    def take_weights(self, path: str) -> None:
        """Reads a safetensors file of all weights, named as in a checkpoint; each worker keeps its part of them."""
        with safe_open(path, framework="pt") as file:
            self.reload_weights(weights_iterator=((name, file.get_tensor(name)) for name in file.keys()))  # noqa: SIM118

    def leave_with(self, process: int) -> None:
        """From now on this process ends when that one does, even if it is killed: the GPU is free then."""
        Thread(target=_leave_after, args=(process,), daemon=True).start()


def _leave_after(process: int) -> None:
    with suppress(psutil.NoSuchProcess):
        psutil.Process(process).wait()
    os._exit(1)
