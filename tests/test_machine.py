"""Cores are counted on any system, and freed buffers used again: told by the pages that the system has to give."""

import ctypes
import os
import subprocess
import sys

import pytest

from ketchup.machine import cores

ROUNDS, BUFFER = 20, 64 * 2**20
PAGES = BUFFER // os.sysconf("SC_PAGE_SIZE")
FAULTS = f"""
import resource
from ketchup.machine import keep_buffers
kept = {{keep}} and keep_buffers()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({ROUNDS}):
    b"x" * {BUFFER}
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(keep, **environment):
    words = [sys.executable, "-c", FAULTS.format(keep=keep)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**clean, **environment})
    kept, faults = map(int, done.stdout.split())
    return bool(kept), faults


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="no glibc")
def test_a_freed_buffer_is_used_again():
    kept, faults = _faults(keep=True)
    assert kept
    _, before = _faults(keep=False)
    # A page is given once in all; without it, once a round (hugepages of the system may give several pages at a time).
    assert faults < 1.2 * PAGES
    assert before > 5 * faults


def test_a_setting_of_the_environment_stays():
    kept, _ = _faults(keep=True, MALLOC_ARENA_MAX="2")
    assert not kept


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 6}, raising=False)
    assert cores() == 3


def test_a_system_that_does_not_tell_has_all_its_cores(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert cores() == 8
