"""What a study found, read from files of runs made by hand."""

import json
from pathlib import Path

import pytest

from ketchup_eval.study.collect import collect
from ketchup_eval.study.graph import graph
from ketchup_eval.study.reading import read_plan
from tests.study.plans import PLAN, plan_file


def compared(score: str, p: float) -> dict[str, object]:
    return {
        "score": score,
        "difference": {"value": 1.0, "low": 0.0, "high": 2.0, "n": 8},
        "test": "McNemar",
        "p": p,
        "higher_is_better": True,
        "detectable": None,
    }


def test_p_values_of_a_student_are_one_family_without_what_is_no_score(tmp_path: Path) -> None:
    text = PLAN.replace("[methods.k4]", "[methods.kl]\n[methods.k4]")
    plan = read_plan(plan_file(tmp_path, text))
    folder = tmp_path / "runs" / "tiny"
    folder.mkdir(parents=True)
    for method, p in (("kl", 0.01), ("k4", 0.03)):
        rows = [compared("accuracy", p), compared("no-answer", 1e-9)]
        (folder / f"compare-far-demo-{method}.json").write_text(json.dumps({"comparisons": rows}), encoding="utf-8")
    found = collect(plan, graph(plan, tmp_path / "runs"), folder)["comparisons"]
    assert [(row["method"], row["score"]) for row in found] == [("kl", "accuracy"), ("k4", "accuracy")]
    assert [row["holm"] for row in found] == pytest.approx([0.02, 0.03])  # 2 x 0.01; then 1 x 0.03


def test_what_is_not_there_yet_is_absent(tmp_path: Path) -> None:
    plan = read_plan(plan_file(tmp_path))
    found = collect(plan, graph(plan, tmp_path / "runs"), tmp_path / "runs" / "tiny")
    assert (found["runs"], found["methods"], found["comparisons"], found["variance"]) == ([], [], [], [])
    assert {command["state"] for command in found["commands"]} == {"to do"}


def test_students_that_are_measured_alone_stand_together_by_teacher(tmp_path: Path) -> None:
    plan = read_plan(plan_file(tmp_path))
    folder = tmp_path / "runs" / "tiny"
    for name, kl in (("made", 0.1), ("far", 0.7)):
        (folder / f"variance-{name}-demo").mkdir(parents=True)
        student = {"name": f"model of {name}", "kl": {"value": kl}, "reverse_kl": None}
        result = json.dumps({"inputs": 3, "students": [student]})
        (folder / f"variance-{name}-demo" / "variance.json").write_text(result, encoding="utf-8")
    (one,) = collect(plan, graph(plan, tmp_path / "runs"), folder)["variance"]
    assert (one["task"], one["teacher"], one["students"], one["result"]["inputs"]) == (
        "demo",
        "teacher",
        ["made", "far"],
        3,
    )
    assert [(student["name"], student["run"]) for student in one["result"]["students"]] == [
        ("model of far", "variance-far-demo"),
        ("model of made", "variance-made-demo"),
    ]
