"""The paper's settings (Tables 4 and 5, Section 3), and what a flag does to them."""

import json

import pytest
from typer.testing import CliRunner

from ketchup.errors import UsageError
from ketchup.methods import METHODS, method
from ketchup.training.presets import PRESETS, preset
from ketchup.training.train_settings import TrainSettings
from ketchup_eval.cli import app
from tests import tiny
from tests.commands import write_data

# (epochs, accumulation, longest output) of reinforcement learning, as printed
TABLES = {"xsum": (10, 32, 64), "europarl": (10, 32, 80), "gsm8k": (5, 4, 300)}
BEST_K = {  # Table 1, and the caption of Table 8
    "xsum-t5": 2,
    "europarl-t5": 8,
    "gsm8k-t5": 8,
    "xsum-qwen": 2,
    "europarl-qwen": 2,
    "gsm8k-qwen": 16,
}


def test_there_is_one_for_each_task_and_family():
    assert set(PRESETS) == {f"{task}-{family}" for task in TABLES for family in ("t5", "qwen")} == set(BEST_K)


@pytest.mark.parametrize("name", PRESETS)
def test_values_are_the_papers(name):
    task = name.split("-")[0]
    epochs, accumulation, longest = TABLES[task]
    found = preset(name, "ketchup")
    assert found["k"] == BEST_K[name]
    assert (found["task"], found["epochs"], found["accumulation"]) == (task, epochs, accumulation)
    assert (found["learning_rate"], found["batch_size"], found["max_new_tokens"]) == (1e-5, 8, longest)
    assert "k" not in preset(name, "llmr")
    first = preset(name, "seqkd")
    assert (first["epochs"], first["learning_rate"], first["batch_size"]) == (5, 3e-5, 8)
    assert preset(name, "tvd")["epochs"] == 2
    assert "teacher" not in preset(name, "sft")
    for chosen in METHODS:  # "the best checkpoint based on the performance of the held-out validation set", Table 1
        assert preset(name, chosen)["select"] == {"xsum": "rougeL", "europarl": "bleu", "gsm8k": "accuracy"}[task]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("chosen", METHODS)
def test_every_preset_makes_settings_of_every_method(name, chosen):
    found = preset(name, chosen)
    options = {key: found.pop(key) for key in ("k",) if key in found}
    if chosen == "reinforce":  # no paper's own, so it says which estimator
        options["estimator"] = "shrink:0.25"
    method(chosen, options)
    TrainSettings(**{"method": chosen, "student": "x", **found}, options=options)


def test_an_unknown_preset_is_refused_by_name():
    with pytest.raises(UsageError, match="no preset 'xsum'; use one of europarl-qwen"):
        preset("xsum", "kl")


def test_a_flag_wins_over_the_preset_and_the_manifest_says_so(tmp_path):
    write_data(tmp_path / "data", train=8, validation=2)
    tiny.save("t5", tmp_path / "teacher", seed=1)
    tiny.save("t5", tmp_path / "student", seed=2)
    words = ["train", "ketchup", "--preset", "gsm8k-t5", "--student", tmp_path / "student"]
    words += ["--teacher", tmp_path / "teacher", "--data", tmp_path / "data", "--max-new-tokens", 6, "--k", 2]
    words += ["--steps", 1, "--batch-size", 8, "--runs-dir", tmp_path, "--threads", 1, "--select", "return"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    settings = json.loads((tmp_path / "ketchup-gsm8k/manifest.json").read_text())["settings"]
    assert (settings["task"], settings["accumulation"], settings["learning_rate"]) == ("gsm8k", 4, 1e-5)
    assert (settings["options"]["k"], settings["max_new_tokens"], settings["steps"]) == (2, 6, 1)
    assert settings["overridden"] == ["k", "max_new_tokens", "select"]  # not a value equal to the preset's
    assert settings["preset"] == "gsm8k-t5"


def test_trackers_get_the_metrics(tmp_path):
    write_data(tmp_path / "data", train=8, validation=2)
    tiny.save("t5", tmp_path / "student", seed=2)
    words = ["train", "sft", "--student", tmp_path / "student", "--task", "gsm8k", "--data", tmp_path / "data"]
    words += ["--steps", 2, "--runs-dir", tmp_path, "--threads", 1, "--track", "tensorboard"]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    file = min((tmp_path / "sft-gsm8k").rglob("*tfevents*"), key=lambda path: len(path.parts))  # not the settings'
    events = EventAccumulator(str(file))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2]
    wrong = CliRunner().invoke(app, [str(word) for word in [*words[:-1], "nonsense", "--name", "other"]])
    assert wrong.exit_code == 2, wrong.output
    assert "nonsense" in wrong.output
