"""What is written while a study runs: as things change, not without end, and never in its way."""

import json
from pathlib import Path

from ketchup.errors import RunError
from ketchup_eval.study.graph import graph
from ketchup_eval.study.keeping import Keeper
from ketchup_eval.study.reading import read_plan
from tests.study.plans import plan_file


def keeper(folder: Path, show):
    plan = read_plan(plan_file(folder))
    made = Keeper(plan, graph(plan, folder / "runs"), folder / "runs" / "tiny", show)
    made.next = 0.0
    return made


def test_both_files_are_written_when_something_changed_and_then_not_at_once_again(tmp_path: Path) -> None:
    shown: list[str] = []
    keep = keeper(tmp_path, lambda content, claims: shown.append(content["name"]))
    for changes in (1, 1, 2):
        keep.watch(changes)
    assert shown == ["tiny"]  # the second change comes too soon
    keep.next = 0.0
    keep.watch(2)
    keep.next = 0.0
    keep.watch(2)
    assert len(shown) == 2
    folder = tmp_path / "runs" / "tiny"
    assert json.loads((folder / "study.json").read_text())["commands"][0]["state"] == "to do"
    assert len(json.loads((folder / "claims.json").read_text())["claims"]) == 10


def test_what_cannot_be_written_is_told_and_stops_nothing(tmp_path: Path, caplog) -> None:
    def broken(*_: object) -> None:
        raise RunError("the disk is full.")

    keeper(tmp_path, broken).watch(1)
    assert "the disk is full. (the study goes on)" in caplog.text
