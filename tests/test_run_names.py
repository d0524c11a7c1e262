"""Names of runs: which are refused, and that every command finds the same run under one name."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from ketchup.errors import RunError, UsageError
from ketchup.files import append_jsonl
from ketchup.manifests import check_same_settings
from ketchup.models.builtin import model_of
from ketchup.runs import Run
from ketchup_eval.cli import app
from ketchup_eval.evaluation.evaluation_settings import system_named
from ketchup_eval.inputs import RowsFrom
from ketchup_eval.judge.plan import task_and_rows
from ketchup_eval.predictions import predictions_file

BAD = ["", " ", ".", "..", "/", "/tmp/x", "a/b", "../a", "a/", "a\n", "\x1b[31ma", "a\u202eb", "a\udcff", "x" * 201]
COMMANDS = {
    "variance": ["variance", "--dry-run"],
    "train": ["train", "kl", "--student", "demo-student-1", "--dry-run"],
    "evaluate": ["evaluate", "demo-student-1", "--dry-run"],
    "evaluate a file": ["evaluate", "--predictions", "nowhere.jsonl"],
    "judge": ["judge", "--a", "a.jsonl", "--b", "b.jsonl", "--task", "xsum", "--dry-run"],
}


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_name_of_a_folder(tmp_path, name):
    with pytest.raises(UsageError, match="A run cannot be called"):
        Run.new(name, tmp_path)


@pytest.mark.parametrize("name", ["a", ".a", "a b", "-a", "ketchup,k=4", "ünïcode-名", "x" * 200])
def test_all_other_names_are_taken(tmp_path, name):
    assert Run.new(name, tmp_path).folder == tmp_path / name


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["", ".", "../a", "/a"])
def test_every_command_that_takes_a_name_refuses_it(tmp_path, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    done = invoke(*COMMANDS[command], "--name", name)
    assert done.exit_code == 2, done.output
    assert "A run cannot be called" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """A run under `runs/` and another of the same name in the working directory, told apart by their seeds."""
    monkeypatch.chdir(tmp_path)
    for folder, seed in ((tmp_path / "runs/k4", 1), (tmp_path / "k4", 2)):
        settings = {"method": "ketchup", "task": f"task-{seed}", "seed": seed, "options": {}, "data": None}
        check_same_settings(folder, settings)
        append_jsonl(folder / "metrics.jsonl", {"step": 0, "validation_return": -1.0})
        (folder / "best").mkdir()
        (folder / "predictions").mkdir()
        (folder / "predictions/test.jsonl").write_text(json.dumps({"id": "1", "prediction": "x"}) + "\n")
    return tmp_path


def resolved(name, runs_dir):
    """The folder that each of the four users of a name takes, relative to the working directory."""
    done = invoke("report", name, "--runs-dir", runs_dir, "--json")
    (reported,) = json.loads(done.stdout)["runs"]
    model = system_named(name, runs_dir, None, None).model
    outputs = predictions_file(name, runs_dir, "test")
    assert model_of(name, runs_dir) == model
    seed = task_and_rows(name, runs_dir, "test", None, RowsFrom())[0].removeprefix("task-")
    of_task = {"1": runs_dir / "k4", "2": runs_dir.parent / "k4"}[seed]
    return {
        str((runs_dir.parent / path).resolve())
        for path in (reported, model[: -len("/best")], outputs.parents[1], of_task)
    }


def test_all_commands_take_the_run_under_the_runs_folder_first(two_runs):
    assert resolved("k4", two_runs / "runs") == {str(two_runs / "runs/k4")}
    assert resolved("./k4", two_runs / "runs") == {str(two_runs / "k4")}
    assert resolved(str(two_runs / "k4"), two_runs / "runs") == {str(two_runs / "k4")}


def test_what_is_no_run_does_not_stand_before_one(two_runs):
    for empty, other in (("k4", "runs/k4"), ("runs/k4", "k4")):
        folder = two_runs / empty
        folder.rename(two_runs / "away")
        folder.mkdir()
        assert resolved("k4", two_runs / "runs") == {str(two_runs / other)}
        folder.rmdir()
        (two_runs / "away").rename(folder)


def test_a_run_is_a_student_and_a_teacher_of_other_commands(two_runs):
    """As `ketchup evaluate` takes it: by name, its best checkpoint, whatever empty folder lies beside."""
    shutil.rmtree(two_runs / "k4")
    (two_runs / "k4").mkdir()
    for words in (
        ("variance", "--teacher", "demo-teacher", "--student", "k4"),
        ("variance", "--teacher", "k4", "--student", "demo-student-1"),
        ("train", "sft", "--student", "k4"),
    ):
        done = invoke(*words, "--dry-run")
        assert done.exit_code == 0, done.output
        assert "runs/k4/best" in done.output


def test_built_in_models_stand_before_runs(two_runs):
    (two_runs / "runs/k4").rename(two_runs / "runs/demo-teacher")
    assert model_of("demo-teacher", two_runs / "runs") == "demo-teacher"
    assert model_of("nowhere/model", two_runs / "runs") == "nowhere/model"


def test_a_run_that_is_not_there(tmp_path):
    with pytest.raises(RunError, match=r'There is no run "k4", as neither .*/k4 nor the folder k4 has a manifest'):
        Run.named("k4", tmp_path)
    for name in ("", " "):
        with pytest.raises(UsageError, match="is empty"):
            Run.named(name, tmp_path)
    assert Run.find("x" * 5000, tmp_path) is None


def test_results_of_a_folder_go_under_its_own_name(two_runs, monkeypatch):
    """`ketchup evaluate .` or `..` must not write beside the runs."""
    monkeypatch.chdir(two_runs / "k4")
    assert system_named(".", two_runs / "runs", None, None).run.folder == two_runs / "runs/k4"
    monkeypatch.chdir(two_runs / "k4/best")
    assert system_named("..", two_runs / "runs", None, None).run.folder == two_runs / "runs/k4"
    assert system_named(".", two_runs / "runs", None, None).run.folder == two_runs / "runs/k4-best"
    assert system_named("../best", two_runs / "runs", None, None).run.folder == two_runs / "runs/k4-best"
