"""How long a study takes, from what is done and from a program whose time is known."""

import sys
from pathlib import Path

import pytest

from ketchup_eval.study.estimate import CHEAP, Estimate, estimate
from ketchup_eval.study.node import Node
from ketchup_eval.study.stamps import Stamp

PROGRAM = """
import json, pathlib, sys, time
words = sys.argv[1:]
value = lambda option: words[words.index(option) + 1]
if "--dry-run" in words:
    print("llmr of a student: 1,000 training inputs, 100 optimiser steps; 1,000 inputs x 2 samples")
    sys.exit()
folder = pathlib.Path(value("--runs-dir"))
if words[0] == "init-student":
    pathlib.Path(value("--out")).mkdir(parents=True)
elif words[0] == "train":
    assert "--epochs" not in words and int(value("--limit")) == 64, words
    assert "--student" not in words or pathlib.Path(value("--student")).exists(), words
    run = folder / value("--name")
    (run / "best").mkdir(parents=True)
    seconds = [2.0, *([0.5] * (int(value("--steps")) - 1)), 2.5]  # validated at step 0 and at the last
    rows = [{"step": at, "seconds": {"sample": spent}} for at, spent in enumerate(seconds)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + chr(10) for row in rows))
else:
    time.sleep(0.05 * int(value("--limit")))
"""


def node(name: str, kind: str = "train", *more: str, needs: tuple[str, ...] = (), **labels: str) -> Node:
    words = (kind if kind == "variance" else "train", "llmr", "--epochs", "2", "--eval-every", "30", *more)
    words = (*words, "--name", name, "--runs-dir", "runs/study")
    return Node(name, kind, words, needs, {"task": "demo", **labels}, threads=False)


def nodes(*names: str) -> dict[str, Node]:
    return {name: node(name) for name in names}


def stamp(name: str, seconds: float) -> Stamp:
    return Stamp("done", node(name).words, seconds, "2026-01-01")


def estimated(chosen: dict[str, Node], stamps: dict[str, Stamp], program: Path | None = None) -> Estimate:
    """With a probe where there is a program to probe."""
    words = {} if program is None else {"program": [sys.executable, str(program)]}
    return estimate(chosen, stamps, chosen, Path("runs/study"), probe=program is not None, **words)


def test_what_is_left_takes_what_those_of_its_kind_and_task_took() -> None:
    chosen = nodes("a", "b", "c", "d") | {"e": node("e", task="another")}
    found = estimated(chosen, {"a": stamp("a", 10.0), "b": stamp("b", 30.0)})
    assert found.seconds == 2 * 20.0
    assert found.basis == ("2 train on demo at 20 s (as 2 done took)",)
    assert found.unknown == ("1 train on another",)


def test_what_is_not_known_is_no_part_of_the_time_unless_it_is_cheap() -> None:
    found = estimated(nodes("a") | {"b": node("b", "compare")}, {})
    assert (found.seconds, found.basis) == (CHEAP, (f"1 compare at {CHEAP:.0f} s (a guess)",))
    assert found.unknown == ("1 train on demo",)


def test_nothing_is_left_of_a_finished_study() -> None:
    found = estimated(nodes("a"), {"a": stamp("a", 10.0)})
    assert (found.basis, found.unknown) == ((), ())


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


def test_a_training_is_its_steps_and_validations_and_what_comes_before(program: Path) -> None:
    found = estimated(nodes("a", "b"), {}, program)
    # 100 steps of 0.5 s, and validations of 2 s: at the start, and at 30, 60, 90 and 100. What the log does not have is
    # the program's own start, less the 5.5 s that its log claims and it did not take.
    assert found.seconds == pytest.approx(2 * (100 * 0.5 + 5 * 2.0 - 5.5), abs=2.0)
    assert found.basis[0].endswith("s (by a probe of a)")


def test_the_middle_of_students_and_methods_is_probed(program: Path) -> None:
    chosen = {
        f"{student}-{method}": node(f"{student}-{method}", student=student, method=method)
        for student in ("small", "middle", "large")
        for method in ("kl", "llmr", "k4")
    }
    assert estimated(chosen, {}, program).basis[0].endswith("(by a probe of middle-llmr)")


def test_a_measurement_is_a_line_through_two_sizes(program: Path) -> None:
    found = estimated({"a": node("a", "variance")}, {}, program)
    assert found.seconds == pytest.approx(50.0, rel=0.25)  # 0.05 s an input, and the start of Python


def test_models_that_are_not_there_yet_are_made_in_short(program: Path) -> None:
    words = ("init-student", "--out", "runs/study/init", "--runs-dir", "runs/study")
    made = Node("init", "init", words, labels={"task": "demo"}, threads=False)
    start = node("start", "start", "--student", "runs/study/init", needs=("init",))
    chosen = {"init": made, "start": start}
    chosen |= {"a": node("a", "train", "--student", "runs/study/start/best", needs=("start",))}
    found = estimated(chosen, {}, program)
    assert [one.split(" at ")[0] for one in found.basis] == ["1 init", "1 start on demo", "1 train on demo"]
    assert found.unknown == ()


def test_what_cannot_run_in_short_is_not_known(program: Path) -> None:
    program.write_text("import sys; sys.exit(1)", encoding="utf-8")
    assert estimated(nodes("a"), {}, program).unknown == ("1 train on demo",)
