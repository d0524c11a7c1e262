"""This machine's cores, and what its C library does with memory that is given back."""

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt(3)."""

BUFFER_BYTES = 256 * 2**20
"""Larger buffers come from the system and go back to it at once."""

KEPT_BYTES = 2**30
"""Most memory that stays with the process while nothing uses it."""


def cores() -> int:
    """How many cores this process may run on; where the system does not tell (macOS), how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_buffers() -> bool:
    """Lets glibc use the memory of freed buffers again; whether it does. Other C libraries are left as they are.

    By itself it returns buffers of more than 32 MiB to the system, which gives the next one as pages of zeros, filled
    when they are first touched: thousands of times, for keys, values and logits. Whoever has tuned malloc by the
    environment keeps their own setting.
    """
    tuned = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" and not tuned else None
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, BUFFER_BYTES) and mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
