"""`--plugin`: a row of each table from a file of one's own, driven through the command line."""

import json

import pytest
import typer
from typer.testing import CliRunner

from ketchup.errors import KetchupError
from ketchup.plugins import load_plugins
from ketchup_eval.cli import app
from tests import tiny
from tests.commands import ketchup, write_data

METRIC = """
import numpy as np
from ketchup_eval.metrics import METRICS
from ketchup_eval.metrics.base import Metric, Scale, mean_of

def statistics(items):
    return np.array([[item.prediction in item.references] for item in items], dtype=float).reshape(-1, 1)

METRICS["exact"] = Metric(
    name="exact",
    kinds=frozenset({"translation"}),
    statistics=statistics,
    scales=(Scale("exact", "share", mean_of(0, 100.0)),),
    signature=lambda references: f"nrefs:{references}|exact",
)
"""
TRAINING = """
from ketchup.estimators import BASELINES, ESTIMATORS, BaselineRow, Row, baselines, llmr
from ketchup.methods import METHODS, kl
from ketchup.methods import Row as MethodRow
from ketchup.rollouts.engines import ENGINES
from ketchup.rollouts.transformers_engine import TransformersEngine

class Mine(TransformersEngine):
    name = "mine"

ESTIMATORS["own"] = Row(llmr.build, "G_t", "here", ("own",))
BASELINES["own-none"] = BaselineRow(baselines.none, "G_t", "here")
METHODS["own-kl"] = MethodRow(kl.build, "divergence")
ENGINES["mine"] = Mine
"""
TRAIN = ("--task", "gsm8k", "--data", "data", "--steps", 1, "--batch-size", 2, "--max-new-tokens", 4, "--threads", 1)


def write(folder, text, name="mine.py"):
    (folder / name).write_text(text)
    return folder / name


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "out.txt").write_text("de hond\neen kat\n" * 200)
    (tmp_path / "ref.txt").write_text("de hond\nde kat\n" * 200)
    return ["evaluate", "--predictions", "out.txt", "--references", "ref.txt", "--task", "europarl", "--json"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_metric_is_scored_and_its_plugin_recorded(tmp_path, texts, workers):
    """Also in other processes, which have to import the file themselves."""
    write(tmp_path, METRIC)
    more = ["--metrics", "exact", "bleu", "--plugin", "mine.py", "--workers", workers]
    done = ketchup(tmp_path, *texts, *more)
    assert done.code == 0, done.stderr
    (about,) = json.loads(done.stdout).values()
    assert about["scores"]["exact"]["value"] == 50
    assert about["scores"]["exact"]["signature"] == "nrefs:1|exact"
    assert list(about["plugins"]) == ["mine.py"]
    assert len(about["plugins"]["mine.py"]) == 64
    unknown = ketchup(tmp_path, *texts, "--metrics", "exact", "--name", "other")
    assert unknown.code == 2
    assert 'There is no metric "exact"' in unknown.stderr


def test_a_method_an_estimator_a_baseline_and_an_engine_train_a_student(tmp_path):
    write(tmp_path, TRAINING)
    tiny.save("t5", tmp_path / "model")
    write_data(tmp_path / "data", train=4, validation=2)
    models = ("--student", "model", "--teacher", "model", "--plugin", "mine.py")
    for name, words in {
        "one": ["own-kl"],
        "two": ["reinforce", "--estimator", "own", "--baseline", "own-none", "--engine", "mine"],
    }.items():
        done = ketchup(tmp_path, "train", words[0], *models, *words[1:], *TRAIN, "--name", name)
        assert done.code == 0, done.stderr
        recorded = json.loads((tmp_path / f"runs/{name}/manifest.json").read_text())
        assert list(recorded["settings"]["plugins"]) == ["mine.py"]
    write(tmp_path, TRAINING + "# changed\n")
    again = ketchup(tmp_path, "train", "own-kl", *models, *TRAIN, "--name", "one")
    assert again.code == 1
    assert "plugins.mine.py was" in again.stderr


def test_an_estimator_and_an_engine_are_measured_by_two_processes(tmp_path):
    write(tmp_path, TRAINING)
    tiny.save("t5", tmp_path / "model")
    tiny.save("t5", tmp_path / "other", seed=1)
    write_data(tmp_path / "data", test=4)
    words = ["--task", "gsm8k", "--data", "data", "--samples", 4, "--max-new-tokens", 4, "--threads", 1, "--k", 1]
    words += ["--teacher", "model", "--student", "other", "--plugin", "mine.py", "--estimator", "own"]
    done = ketchup(tmp_path, "variance", *words, "--engine", "mine", "--processes", 2, "--json", seconds=120)
    assert done.code == 0, done.stderr
    (student,) = json.loads(done.stdout)["students"]
    assert any(row.get("estimator", "").startswith("llmr") for row in student["estimates"])
    recorded = json.loads((tmp_path / "runs/variance-gsm8k/manifest.json").read_text())
    assert list(recorded["plugins"]) == ["mine.py"]
    assert recorded["settings"]["engine"] == "mine"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("mine.py", "x = 1\nraise ValueError('no\\nyes')\n", "mine.py:2: the plug-in fails (ValueError: no); mend it"),
        ("mine.py", "x = 1\ny = (\n", "mine.py:2: the plug-in fails (SyntaxError: "),
        ("mine.py", "import nowhere\n", "mine.py:1: the plug-in fails (ModuleNotFoundError: No module named 'nowhere'"),
        (
            "mine.py",
            "from ketchup_eval.metrics import METRICS\n\nMETRICS['bleu'] = METRICS['ter']\n",
            "mine.py:3: the plug-in fails (there is a 'bleu' already; choose another name); mend it there.",
        ),
        ("mine.txt", "", "mine.txt is no Python file"),
        ("other.py", "", "mine.py cannot be read; --plugin takes a Python file"),
    ],
)
def test_a_plugin_that_fails_is_one_sentence_with_file_and_line(tmp_path, monkeypatch, name, text, sentence):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, text, name)
    with pytest.raises(KetchupError) as caught:
        load_plugins([name if name == "mine.txt" else "mine.py"])
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_command_has_the_option_and_says_what_is_wrong_before_it_does_anything(tmp_path, texts):
    write(tmp_path, "x = 1\nraise ValueError('no')\n")
    done = ketchup(tmp_path, *texts, "--plugin", "mine.py")
    assert done.code == 2
    assert done.stderr == "Error: mine.py:2: the plug-in fails (ValueError: no); mend it there.\n"
    assert not (tmp_path / "runs").exists()
    commands = typer.main.get_command(app).commands.values()
    assert all("--plugin" in {name for option in command.params for name in option.opts} for command in commands)


def test_an_engine_that_nobody_added_is_refused_before_anything_is_loaded():
    done = CliRunner().invoke(app, ["variance", "--engine", "mine"])
    assert done.exit_code == 2
    assert "--engine is 'mine': use one of auto, ctranslate2, ctranslate2:int8, " in done.stderr
