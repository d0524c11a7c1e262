"""How long a study takes, from what is done and from a program whose time is known."""

import sys
from pathlib import Path

import pytest

from ketchup_eval.study.estimate import CHEAP, estimate
from ketchup_eval.study.node import Node
from ketchup_eval.study.stamps import Stamp

PROGRAM = """
import sys, time
words = sys.argv[1:]
if "--dry-run" in words:
    print("llmr of a student: 1,000 training inputs, 100 optimiser steps")
    sys.exit()
assert "--epochs" not in words and words[words.index("--validation-limit") + 1] == "8", words
time.sleep(0.2 + 0.3 * int(words[words.index("--steps") + 1]))
"""


def node(name: str, kind: str = "train") -> Node:
    words = (kind, "llmr", "--epochs", "2", "--name", name, "--runs-dir", "runs")
    return Node(name, kind, words, threads=False)


def nodes(*names: str) -> dict[str, Node]:
    return {name: node(name) for name in names}


def stamp(name: str, seconds: float) -> Stamp:
    return Stamp("done", node(name).words, seconds, "2026-01-01")


def test_what_is_left_takes_what_those_of_its_kind_took() -> None:
    chosen = nodes("a", "b", "c", "d")
    found = estimate(chosen, {"a": stamp("a", 10.0), "b": stamp("b", 30.0)}, probe=False)
    assert found.seconds == 2 * 20.0
    assert found.basis == ("2 train at 20 s (as 2 done took)",)


def test_without_anything_to_go_by_it_is_a_guess_and_says_so() -> None:
    found = estimate(nodes("a"), {}, probe=False)
    assert (found.seconds, found.basis) == (CHEAP, (f"1 train at {CHEAP:.0f} s (a guess)",))


def test_nothing_is_left_of_a_finished_study() -> None:
    assert estimate(nodes("a"), {"a": stamp("a", 10.0)}, probe=False).basis == ()


def test_a_probe_is_a_line_through_two_sizes(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    found = estimate(nodes("a", "b"), {}, probe=True, program=[sys.executable, str(program)])
    assert found.seconds == pytest.approx(2 * 30.2, rel=0.25)  # 0.2 s and 0.3 s a step, and the start of Python
    assert found.basis[0].endswith("s (by a probe)")
