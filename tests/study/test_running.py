"""Running a graph: order, failures, kills and stamps, with a program that takes no time."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ketchup.errors import RunError
from ketchup.manifests import check_same_settings
from ketchup_eval.study.node import Node
from ketchup_eval.study.rates import choose_rate
from ketchup_eval.study.running import reason, run_graph, run_node
from ketchup_eval.study.stamps import read_stamps

PROGRAM = """
import pathlib, sys, time
name, verdict, folder = sys.argv[1:4]
with open(pathlib.Path(folder) / "ran", "a") as file:
    file.write(name + "\\n")
if verdict == "waits":
    time.sleep(60)
print("Error: it " + verdict)
sys.exit(verdict == "fails")
"""


def program(folder: Path) -> list[str]:
    path = folder / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return [sys.executable, str(path)]


def node(folder: Path, name: str, verdict: str = "works", needs: tuple[str, ...] = ()) -> Node:
    return Node(name, "train", (name, verdict, str(folder)), needs, threads=False)


def chain(folder: Path, middle: str = "works") -> dict[str, Node]:
    nodes = [
        node(folder, "first"),
        node(folder, "middle", middle, ("first",)),
        node(folder, "last", needs=("middle",)),
        node(folder, "alone"),
    ]
    return {one.name: one for one in nodes}


def ran(folder: Path) -> list[str]:
    return (folder / "ran").read_text(encoding="utf-8").split()


def test_each_runs_once_and_after_what_it_needs(tmp_path: Path) -> None:
    nodes = chain(tmp_path)
    for _ in range(2):
        outcome = run_graph(nodes, nodes, tmp_path / "study", 2, program=program(tmp_path))
        assert sorted(outcome.done) == ["alone", "first", "last", "middle"]
    order = ran(tmp_path)
    assert sorted(order) == ["alone", "first", "last", "middle"]
    assert order.index("first") < order.index("middle") < order.index("last")


def test_a_failure_leaves_the_rest_going_and_is_tried_again(tmp_path: Path) -> None:
    nodes = chain(tmp_path, "fails")
    for _ in range(2):
        outcome = run_graph(nodes, nodes, tmp_path / "study", 1, program=program(tmp_path))
        assert sorted(outcome.done) == ["alone", "first"]
        assert outcome.failed == ["middle"]
        assert outcome.unreached == ["last"]
    assert reason(tmp_path / "study", "middle") == "Error: it fails"
    assert sorted(ran(tmp_path)) == ["alone", "first", "middle", "middle"]
    stamp = read_stamps(tmp_path / "study", nodes)["middle"]
    assert (stamp.state, stamp.code) == ("failed", 1)


def test_what_was_made_by_other_settings_is_refused_before_anything_runs(tmp_path: Path) -> None:
    nodes = chain(tmp_path)
    run_graph(nodes, {"first": nodes["first"]}, tmp_path / "study", 1, program=program(tmp_path))
    other = nodes | {"first": replace(nodes["first"], words=("first", "--k", "4", str(tmp_path)))}
    with pytest.raises(RunError, match="was made by other settings"):
        run_graph(other, other, tmp_path / "study", 1, program=program(tmp_path))
    assert ran(tmp_path) == ["first"]


def test_a_rate_is_not_the_choice_among_others(tmp_path: Path) -> None:
    place = tmp_path / "study"
    rows = {rate: [{"validation_return": rate}] for rate in (1e-5, 1e-4, 1e-3)}
    tried = trials(tmp_path, rows)
    words = ("study", "plan.toml", "--node", "rate-x")

    def node_of(*rates: float) -> Node:
        return Node("rate-x", "rate", words, trials={rate: tried[rate] for rate in rates}, threads=False)

    assert run_node(node_of(1e-5, 1e-4), place, 1) == 0
    with pytest.raises(RunError, match=r"it had --learning-rate 1e-05 0\.0001, the plan has .* 0\.001"):
        run_node(node_of(1e-5, 1e-3), place, 1)


STUDY = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs tests in the background ignores it
from pathlib import Path
from tests.study.test_running import chain, program
from ketchup_eval.study.running import run_graph
folder = Path(sys.argv[1])
nodes = chain(folder, "waits")
run_graph(nodes, nodes, folder / "study", 1, program=program(folder))
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_study_goes_on_with_what_is_not_done(tmp_path: Path, end: signal.Signals) -> None:
    study = subprocess.Popen([sys.executable, "-c", STUDY, str(tmp_path)], stderr=subprocess.DEVNULL)
    wait_for(lambda: (tmp_path / "ran").exists() and "middle" in ran(tmp_path))
    os.kill(study.pid, end)
    study.wait(30)
    nodes = chain(tmp_path)
    stamps = read_stamps(tmp_path / "study", chain(tmp_path, "waits"))
    assert stamps["middle"].state == "started"
    (tmp_path / "study" / ".study" / "middle.json").unlink()  # its words say that it waits
    run_graph(nodes, nodes, tmp_path / "study", 1, program=program(tmp_path))
    assert [name for name in ran(tmp_path) if name == "first"] == ["first"]
    assert [name for name in ran(tmp_path) if name == "middle"] == ["middle", "middle"]


def wait_for(condition: object, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.02)


def trials(folder: Path, rows: Mapping[float, list[dict[str, float]]]) -> dict[float, Path]:
    found = {}
    for rate, logged in rows.items():
        found[rate] = folder / f"{rate:g}"
        found[rate].mkdir()
        lines = [json.dumps({"step": step, **row}) for step, row in enumerate(logged)]
        (found[rate] / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return found


def test_the_rate_with_the_best_validation_is_chosen(tmp_path: Path) -> None:
    returns = {1e-5: [{"validation_return": -3.0}], 1e-4: [{"validation_return": -1.0}, {"validation_return": -9.0}]}
    assert choose_rate(trials(tmp_path, returns), tmp_path / "rates" / "rate.txt") == 1e-4
    assert (tmp_path / "rates" / "rate.txt").read_text(encoding="utf-8") == "0.0001\n"


def test_a_loss_is_better_where_it_is_lower(tmp_path: Path) -> None:
    losses = {
        1e-5: [{"validation_loss": 1.0, "validation_return": -9.0}],
        1e-4: [{"validation_loss": 2.0, "validation_return": -1.0}],
    }
    assert choose_rate(trials(tmp_path, losses), tmp_path / "rate.txt") == 1e-5


@pytest.mark.parametrize(("metric", "higher", "chosen"), [("ter", False, 1e-4), ("bleu", True, 1e-5)])
def test_a_rate_is_chosen_by_what_its_checkpoints_are(tmp_path: Path, metric: str, higher: bool, chosen: float) -> None:
    rows = {
        1e-5: [{f"validation_{metric}": 70.0, "validation_return": -9.0}],
        1e-4: [{f"validation_{metric}": 60.0, "validation_return": -9.5}],
        1e-3: [{f"validation_{metric}": float("nan"), "validation_return": -1.0}],
    }
    tried = trials(tmp_path, rows)
    for run in tried.values():
        check_same_settings(run, {"select": metric, "select_higher_is_better": higher})
    assert choose_rate(tried, tmp_path / "rate.txt") == chosen


def test_runs_without_a_finite_validation_are_no_choice(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has a finite validation; try smaller rates"):
        choose_rate(trials(tmp_path, {1e-5: [{"loss": 1.0}], 1e-4: [{"loss": 2.0}]}), tmp_path / "rate.txt")
