"""`--task FILE.toml`: a task of one's own through the commands, and what manifests say of it."""

import json

import pytest

from tests import tiny
from tests.commands import ketchup
from tests.tasks.test_task_file import changed, write

ROWS = [{"question": "ab", "answers": ["ba", "cd"]}, {"question": "cd", "answers": ["dc"]}]
CONTENT = {
    "kind": "instruction",
    "metrics": ["rouge", "bleu"],
    "rows": {"files": dict.fromkeys(("train", "validation", "test"), "rows.jsonl")},
    "fields": {"reference": None, "references": "answers"},
    "prompt": {"chat": "d{source}", "source": "d{source}"},
}
FEW = ("--threads", 1, "--teacher", "model", "--max-new-tokens", 4)


@pytest.fixture
def folder(tmp_path):
    tiny.save("t5", tmp_path / "model")
    tiny.save("t5", tmp_path / "other", seed=1)
    own = tmp_path / "tasks"
    own.mkdir()
    (own / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    write(own, changed(**CONTENT))
    return tmp_path


def settings(folder, run):
    return json.loads((folder / "runs" / run / "manifest.json").read_text())["settings"]


def test_a_run_is_named_after_the_file_records_it_and_goes_on_with_no_other(folder):
    words = ("variance", "--task", "tasks/mine.toml", "--student", "other", "--samples", 2, "--k", 1, *FEW)
    done = ketchup(folder, *words)
    assert done.code == 0, done.stderr
    recorded = settings(folder, "variance-mine")
    assert recorded["task"] == "tasks/mine.toml"
    assert recorded["task_file"]["prompt"] == CONTENT["prompt"]
    assert len(recorded["task_file"]["hash"]) == 16
    text = (folder / "tasks/mine.toml").read_text()
    (folder / "tasks/mine.toml").write_text("# a remark\n" + text)
    assert ketchup(folder, *words).code == 0
    write(folder / "tasks", changed(**{**CONTENT, "prompt": {"chat": "c{source}", "source": "d{source}"}}))
    done = ketchup(folder, *words)
    assert done.code == 1
    assert 'task_file.prompt.chat was "d{source}" and is now "c{source}"' in done.stderr


def test_outputs_are_scored_with_all_references_and_unlike_tasks_are_not_compared(folder):
    for name, lines in {"one": "ba\ndc\n", "two": "cd\ndd\n"}.items():
        (folder / f"{name}.txt").write_text(lines)
    words = ("evaluate", "--task", "tasks/mine.toml", "--json", "--predictions")
    done = ketchup(folder, *words, "one.txt")
    assert done.code == 0, done.stderr
    (about,) = json.loads(done.stdout).values()
    assert set(about["metrics"]) == {"rouge", "bleu"}
    assert about["scores"]["rougeL"]["value"] == 100
    assert about["scores"]["rougeL"]["signature"].startswith("nrefs:var|refs:best|")
    assert about["scores"]["bleu"]["signature"].startswith("nrefs:var|")
    same = ketchup(folder, *words, "two.txt", "--task", "./tasks/mine.toml")
    assert json.loads(same.stdout)["runs/two"]["scores"]["rougeL"]["value"] == 50
    assert ketchup(folder, "compare", "--a", "one", "--b", "two").code == 0  # one file by two paths
    write(folder / "tasks", changed(**{**CONTENT, "lengths": {"output": 9}}))
    done = ketchup(folder, "compare", "--a", "one", "--b", "two")
    assert done.code == 1
    assert "lengths.output of tasks/mine.toml changed since one was evaluated" in done.stderr
    assert ketchup(folder, *words, "two.txt", "--name", "three").code == 0
    done = ketchup(folder, "compare", "--a", "one", "--b", "three")
    assert done.code == 1
    assert "Unlike things are not compared" in done.stderr


def test_training_and_evaluating_take_it_from_the_run(folder):
    words = ("train", "seqkd", "--task", "tasks/mine.toml", "--student", "other", "--steps", 1, "--batch-size", 1)
    done = ketchup(folder, *words, *FEW)
    assert done.code == 0, done.stderr
    assert settings(folder, "seqkd-mine")["task_file"]["metrics"] == ["rouge", "bleu"]
    done = ketchup(folder, "evaluate", "seqkd-mine", "--teacher", "none", "--threads", 1, "--json")
    assert done.code == 0, done.stderr
    (about,) = json.loads(done.stdout).values()
    assert about["task"] == "tasks/mine.toml"


def test_an_unknown_metric_of_the_file_is_named_with_it(folder):
    write(folder / "tasks", changed(**{**CONTENT, "metrics": ["rogue"]}))
    (folder / "one.txt").write_text("ba\ndc\n")
    done = ketchup(folder, "evaluate", "--task", "tasks/mine.toml", "--predictions", "one.txt")
    assert done.code == 2
    assert 'tasks/mine.toml: metrics: There is no metric "rogue": did you mean "rouge"' in done.stderr
