"""`ketchup.measure`, `evaluate`, `compare` and `judge` do what the commands of that name do."""

import inspect
import io
import json

import pandas as pd
import pytest
import typer

import ketchup
from ketchup.errors import RunError, UsageError
from ketchup.files import read_jsonl
from ketchup_eval.cli import app
from ketchup_eval.variance.files import as_csv
from tests.judge.given import invoke, prefers, write_inputs
from tests.judge.mock_server import MODEL, MockServer

SMALL = {"limit": 3, "samples": 3, "max_new_tokens": 40, "seed": 4}
FROM_COMMAND = ["--limit", 3, "--samples", 3, "--max-new-tokens", 40, "--seed", 4, "--threads", 1]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_study_has_the_numbers_of_the_command(tmp_path):
    study = ketchup.measure("demo-teacher", "demo-student-3", k=[1, 2], tail="both", estimators=["soft"], **SMALL)
    assert not list(tmp_path.iterdir())
    models = ["--teacher", "demo-teacher", "--student", "demo-student-3"]
    done = invoke("variance", *models, "--k", 1, 2, "--tail", "both", "--estimator", "soft", *FROM_COMMAND)
    assert done.exit_code == 0, done.output
    assert as_csv(study) == (tmp_path / "runs/variance-demo/variance.csv").read_text()


def test_a_frame_is_the_table_of_the_command():
    study = ketchup.measure("demo-teacher", ["demo-student-3"], k=[1, 2], gradient=True, **SMALL)
    frame = study.frame()
    written = pd.read_csv(io.StringIO(as_csv(study)), dtype={"k": "Int64", "n": "Int64"})
    pd.testing.assert_frame_equal(frame, written)
    (row,) = frame.query("quantity == 'bias' and k == 2").itertuples()
    estimate = next(row for row in study.students[0].estimates if row.k == 2)
    assert (row.value, row.low, row.n) == (estimate.bias.value, estimate.bias.low, 3)
    gradients = study.frame("gradients")
    (first, *_) = study.students[0].gradient.rows
    mine = gradients.query("estimator == @first.estimator and baseline == @first.baseline")
    (noise,) = mine.query("quantity == 'noise'").value
    assert noise == first.noise.value
    assert set(mine.batch[mine.quantity == "batch_cosine"]) == set(first.batch_cosine)
    assert set(mine.quantity[mine.batch.isna()]) >= {"noise", "cosine", "worth"}


def test_a_study_in_a_run_goes_on_and_is_that_of_the_command(tmp_path):
    ketchup.measure("demo-teacher", "demo-student-3", k=[1], runs_dir="runs", name="x", **SMALL)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert kept
    assert (tmp_path / "runs/x/variance.png").stat().st_size
    done = invoke(
        "variance", "--teacher", "demo-teacher", "--student", "demo-student-3", "--k", 2, "--name", "x", *FROM_COMMAND
    )
    assert done.exit_code == 0, done.output
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == kept
    with pytest.raises(RunError, match="seed was 4 and is now 5"):
        ketchup.measure("demo-teacher", "demo-student-3", runs_dir="runs", name="x", **SMALL | {"seed": 5})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"teacher": "demo-teacher"}, "--student"),
        ({"students": "demo-student-1"}, "--teacher"),
        ({"baselines": ["mean"]}, "--gradient"),
        ({"gradient": True, "temperature": 0.5}, "--temperature"),
        ({"k": [0]}, "--k"),
        ({"estimators": ["nonsense"]}, "nonsense"),
        ({"samples": 1}, "--samples"),
        ({"tail": "segments"}, "--tail"),
        ({"gauge": "row"}, "--gauge"),
        ({"split": "tset"}, "--split"),
        ({"engine": "fast"}, "--engine"),
        ({"prompt_style": "chatty"}, "--prompt-style"),
        ({"student_dtype": "float8"}, "--student-dtype"),
        ({"name": "a/b", "runs_dir": "runs"}, "a/b"),
    ],
)
def test_options_of_a_study_are_those_of_the_command(given, said):
    with pytest.raises(UsageError, match=said):
        ketchup.measure(**given)


COMMANDS = {"measure": "variance", "evaluate": "evaluate", "compare": "compare", "judge": "judge"}
RENAMED = {"runs": "system", "student": "students", "estimator": "estimators", "baseline": "baselines"}
"""Options that a command takes word by word are lists in Python, by the plural."""
OF_COMMANDS = {"as_json", "as_latex", "latex", "html", "out", "dry_run", "plugin", "threads", "processes"}
"""What is printed and how work is shared is the caller's own in Python."""
OF_COMMANDS |= {"serve", "serve_python", "serve_options", "predictions", "references", "sources", "correlate", "seeds"}
"""A server that is started for a teacher, outputs without a model, several seeds by pattern."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_function_has_the_options_of_its_command(name):
    """Each under its name, with the default of the command, but for lists, folders and the systems themselves."""
    given = typer.main.get_command(app).commands[COMMANDS[name]].params
    options = {RENAMED.get(option.name, option.name): option.default for option in given}
    parameters = {name: one.default for name, one in inspect.signature(getattr(ketchup, name)).parameters.items()}
    assert options.keys() - OF_COMMANDS <= parameters.keys() <= options.keys()
    for option in parameters.keys() - {"a", "b", "system", "runs_dir"}:
        expected = options[option]
        found = parameters[option]
        assert list(found or ()) == list(expected or ()) if isinstance(found, tuple) else found == expected, option


def test_functions_are_for_one_process(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="ketchup variance"):
        ketchup.measure()
    with pytest.raises(UsageError, match="ketchup evaluate"):
        ketchup.evaluate("demo-student-1")


def test_scores_and_differences_are_those_of_the_commands(tmp_path):
    for name in ("demo-student-1", "demo-student-3"):
        found = ketchup.evaluate(name, limit=6, teacher="demo-teacher", runs_dir="mine", device="cpu")
        done = invoke("evaluate", name, "--limit", 6, "--teacher", "demo-teacher", "--threads", 1)
        assert done.exit_code == 0, done.output
        mine, theirs = (json.loads((tmp_path / at / name / "scores.json").read_text()) for at in ("mine", "runs"))
        assert mine == theirs
        of_file = theirs["splits"]["test"]["scores"]
        assert {score.name: score.estimate.value for score in found.scores} == {
            score: row["value"] for score, row in of_file.items()
        }
    study = ketchup.compare("demo-student-1", ["demo-student-3"], runs_dir="mine")
    done = invoke("compare", "--a", "demo-student-1", "--b", "demo-student-3", "--json")
    assert [row.difference.value for row in study.comparisons] == [
        row["difference"]["value"] for row in json.loads(done.stdout)["comparisons"]
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"split": "tset"}, "--split must be one of train, validation, test, not tset"),
        ({"engine": "fast"}, "--engine is 'fast': use one of auto, ctranslate2"),
        ({"bleu_tokenize": "14a"}, "--bleu-tokenize must be one of 13a, .* not 14a"),
    ],
)
def test_options_of_an_evaluation_are_those_of_the_command(given, said):
    with pytest.raises(UsageError, match=said):
        ketchup.evaluate("demo-student-1", **given)


def test_an_evaluation_may_leave_nothing(tmp_path):
    found = ketchup.evaluate("demo-student-3", limit=2, device="cpu")
    assert [row.id for row in found.outputs.predictions] == ["demo-test-0", "demo-test-1"]
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("short_waits")
def test_a_judgement_is_that_of_the_command(tmp_path):
    write_inputs(tmp_path)
    given = {"task": "xsum", "data": "data", "model": MODEL, "resamples": 50, "criteria": ["overall"], "timeout": 20}
    with MockServer(prefers("A")).running() as server:
        found = ketchup.judge("a.jsonl", "b.jsonl", base_url=server.base_url, **given)
        words = ["--task", "xsum", "--data", "data", "--model", MODEL, "--resamples", 50, "--criteria", "overall"]
        done = invoke("judge", "--a", "a.jsonl", "--b", "b.jsonl", "--base-url", server.base_url, *words, "--name", "y")
    assert done.exit_code == 0, done.output
    mine, theirs = (json.loads((tmp_path / "runs" / run / "judge.json").read_text()) for run in ("judge", "y"))
    assert mine["comparisons"] == theirs["comparisons"]
    (comparison,) = found.comparisons
    assert comparison.effects.id.value == 1  # it prefers whatever is called A
    assert found.complete
    rows, _ = read_jsonl(tmp_path / "runs/judge/verdicts.jsonl")
    assert len(rows) == comparison.counts.votes == 20
    again = ketchup.judge("a.jsonl", "b.jsonl", reparse=True, **given)  # the server is gone by now
    assert again.comparisons == found.comparisons
