"""The log of a training run is read once, and again when it has changed."""

import json
from pathlib import Path

from ketchup.files import append_jsonl, write_jsonl
from ketchup.manifests import check_same_settings
from ketchup.runs import Run
from ketchup_eval.study import logs
from ketchup_eval.study.logs import training_log


def test_a_log_is_read_once_and_again_when_it_has_changed(tmp_path: Path, monkeypatch) -> None:
    run = Run(tmp_path / "one")
    check_same_settings(run.folder, {"method": "llmr", "select": "return", "select_higher_is_better": True})
    rows = [
        {"step": 0, "validation_return": -3.0, "seconds": {"sample": 1.0}},
        {"step": 1, "loss": 1.0, "seconds": {"sample": 2.0, "teacher": 0.5}},
        {"step": 2, "loss": 1.0, "validation_return": -1.0},
    ]
    write_jsonl(run.metrics, rows)
    found = {
        "steps": 2,
        "curve": [{"step": 0, "return": -3.0}, {"step": 2, "return": -1.0}],
        "best_validation": -1.0,
        "seconds": {"sample": 3.0, "teacher": 0.5},
    }
    assert training_log(run, tmp_path) == found
    read: list[Run] = []
    monkeypatch.setattr(logs, "read_metrics", lambda run, whole=logs.read_metrics: read.append(run) or whole(run))
    assert training_log(run, tmp_path) == found
    assert read == []
    (kept,) = (tmp_path / ".study").rglob("*.json")
    kept.write_text(json.dumps({"size": 1, "changed": "then"}))  # not what was written
    assert training_log(run, tmp_path) == found
    append_jsonl(run.metrics, {"step": 3, "validation_return": 2.0})
    assert training_log(run, tmp_path)["best_validation"] == 2.0
    assert len(read) == 2
