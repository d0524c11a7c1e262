"""`--plugin`: a row of each table from a file of one's own, driven through the command line."""

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ketchup.errors import KetchupError
from ketchup.plugins import load_plugins
from ketchup_eval.cli import app
from ketchup_eval.cli.plugins import load_plugins_named
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
from dataclasses import replace
from ketchup.estimators import BASELINES, ESTIMATORS, BaselineRow, EstimatorRow, baselines, llmr
from ketchup.methods import METHODS, MethodRow, kl
from ketchup.rollouts.engines import ENGINES
from ketchup.rollouts.transformers_engine import TransformersEngine

class Mine(TransformersEngine):
    name = "mine"

def called(name, build):
    return lambda: replace(build(), name=name)

ESTIMATORS["own"] = EstimatorRow(called("own", llmr.build), "G_t", "here", ("own",))
BASELINES["own-none"] = BaselineRow(called("own-none", baselines.none), "G_t", "here")
METHODS["own-kl"] = MethodRow(called("own-kl", kl.build), "divergence")
ENGINES["mine"] = Mine
"""
SKEW = re.search(
    r"<!-- plugin: method -->\n```python\n(.*?)```",
    (Path(__file__).parents[2] / "docs/plugins.md").read_text(encoding="utf-8"),
    re.DOTALL,
)[1]
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


def test_a_divergence_with_an_option_of_its_own_is_a_file_and_a_row(tmp_path):
    """The skew KL's alpha: in the help, in the run's settings, checked by its builder, and an option of no other."""
    write(tmp_path, SKEW)
    tiny.save("t5", tmp_path / "model")
    write_data(tmp_path / "data", train=4, validation=2)
    words = ("--student", "model", "--teacher", "model", "--plugin", "mine.py", *TRAIN)
    done = ketchup(tmp_path, "train", "skew-kl", *words, "--alpha", 0.25, "--name", "one")
    assert done.code == 0, done.stderr
    recorded = json.loads((tmp_path / "runs/one/manifest.json").read_text())["settings"]
    assert recorded["options"] == {"alpha": 0.25}
    again = ketchup(tmp_path, "train", "skew-kl", *words, "--name", "one")
    assert "options.alpha was 0.25 and is now 0.1" in again.stderr
    for method, value, said in (
        ("skew-kl", 2, "--alpha must be from 0 to 1"),
        ("kl", 0.5, "option of skew-kl, not of"),
    ):
        refused = ketchup(tmp_path, "train", method, *words, "--alpha", value, "--name", "two")
        assert (refused.code, said in refused.stderr) == (2, True)
    shown = ketchup(tmp_path, "train", "--plugin", "mine.py", "--help").stdout
    assert "skew-kl" in shown
    assert re.search(r"--alpha +<float> +share of the teacher", shown)
    assert "No such option: --alpha" in ketchup(tmp_path, "train", "kl", "--alpha", 0.5).stderr


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ("seed: int = 0", "mine has an option seed, as the command itself; call it otherwise."),
        ("alpha=0.1", "alpha of the method mine is no int, float, str, bool or Literal; write its type beside it."),
        ("beta: int = 1", "beta of mine has another type than that of js, gkd."),
    ],
)
def test_an_option_that_cannot_be_is_one_sentence(tmp_path, signature, said):
    imports = "from ketchup.methods import METHODS, MethodRow\n"
    text = imports + "def build({}):\n    pass\nMETHODS['mine'] = MethodRow(build, 'divergence')\n"
    write(tmp_path, text.format(signature))
    done = ketchup(tmp_path, "train", "kl", "--plugin", "mine.py")
    assert (done.code, done.stderr) == (2, f"Error: {said}\n")


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
    assert any(row.get("estimator", "").startswith("own|") for row in student["estimates"])
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


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["a", "--plugin", "x.py", "y.py", "--k", "1", "--plugin=z.py"], ["x.py", "y.py", "z.py"]),
        (["--plugin"], []),
        (["--", "--plugin", "x.py"], []),
        (["--k", "1", "2"], []),
    ],
)
def test_plugins_are_found_among_the_words_of_a_command(monkeypatch, words, found):
    """Before these are parsed, as a plug-in may bring options; what is no word of an option is left to the parser."""
    loaded = []
    monkeypatch.setattr("ketchup.plugins.load_plugins", loaded.extend)
    load_plugins_named(words)
    assert loaded == found


def test_an_engine_that_nobody_added_is_refused_before_anything_is_loaded():
    done = CliRunner().invoke(app, ["variance", "--engine", "mine"])
    assert done.exit_code == 2
    assert "--engine is 'mine': use one of auto, ctranslate2, ctranslate2:int8, " in done.stderr
