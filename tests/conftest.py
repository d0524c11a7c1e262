"""Tests run offline, without a display, on one thread."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import equations

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"

if find_spec("hypothesis"):  # environments of other libraries run some of these tests without it
    from hypothesis import settings

    settings.register_profile("any machine", deadline=None)  # a busy one is no failure
    settings.load_profile("any machine")

TESTS = Path(__file__).parent
FAST = {"estimators", "evaluation", "maths", "metrics", "stats", "tasks"}
"""Rooms whose tests train nothing and start few processes; the files beside the rooms are fast too, but for one."""
SLOW = {"test_wheel.py"}


def pytest_collection_modifyitems(items):
    for item in items:
        room, *rest = item.path.relative_to(TESTS).parts
        if room in FAST or (not rest and room not in SLOW):
            item.add_marker("fast")


@pytest.fixture(autouse=True)
def few_threads():
    """Tests share a machine; torch is not imported for the ones that do without it."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
        sys.modules["torch"].set_warn_always(True)  # or a one-time warning fails whichever test comes first


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """A test that the table of equations names calls the function that the table says."""
    test = pyfuncitem.nodeid.split("[")[0]
    if test not in equations.functions_by_test():
        return (yield)
    with equations.Calls(test) as calls:
        result = yield
    assert not calls.missing, f"docs/method.md says that this test calls {', '.join(calls.missing)}"
    return result
