"""The table of `docs/method.md`: each test it names calls the function that stands beside it, or fails."""

import pydoc
import re
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

ROW = re.compile(r"^\| [^|]+ \| `(ketchup[\w.]+)` \| `(tests/[\w/]+\.py::\w+)` \|$", re.MULTILINE)


@cache
def functions_by_test():
    """Names of functions, by the id of the test beside them."""
    named = defaultdict(list)
    for function, test in ROW.findall((Path(__file__).parents[1] / "docs/method.md").read_text(encoding="utf-8")):
        named[test].append(function)
    return named


class Calls:
    """Watches which of the functions beside a test are called, while it runs."""

    def __init__(self, test):
        self._codes = {pydoc.locate(name).__code__: name for name in functions_by_test()[test]}
        self._called = set()

    @property
    def missing(self):
        return sorted(set(self._codes.values()) - self._called)

    def __enter__(self):
        self._before = sys.getprofile()
        sys.setprofile(self._see)
        return self

    def __exit__(self, *_):
        sys.setprofile(self._before)

    def _see(self, frame, event, _):
        if event == "call" and frame.f_code in self._codes:
            self._called.add(self._codes[frame.f_code])
