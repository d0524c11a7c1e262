"""Training on rollouts of another policy than the one that is trained: what the log says, and what makes up for it.

That weighted rollouts give the exact gradient is in `tests/methods/test_policy_gradient.py`.
"""

import json

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from ketchup.rollouts import engines
from ketchup.rollouts.engines import Choice
from ketchup.rollouts.transformers_engine import TransformersEngine
from ketchup.training import sampler_gap
from ketchup_eval.cli import app
from tests import tiny
from tests.commands import write_data


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_data(folder / "data", train=16, validation=2)
    tiny.save("t5", folder / "teacher", seed=1)
    tiny.save("t5", folder / "student", seed=2)
    return folder


def train(folder, inputs, *more, method="ketchup"):
    given = ["train", method, *(["--k", 2] if method == "ketchup" else []), "--student", inputs / "student"]
    given += ["--teacher", inputs / "teacher", "--task", "gsm8k", "--data", inputs / "data", "--steps", 2, "--lr", 0.01]
    given += ["--max-new-tokens", 6, "--threads", 1, "--runs-dir", folder / "runs", "--name", "run", *more]
    return CliRunner().invoke(app, [str(word) for word in given])


def steps(folder):
    rows = [json.loads(line) for line in (folder / "runs/run/metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["step"]]


@pytest.fixture
def mismatched(monkeypatch):
    """An engine whose copy of the weights is a little off, and stays behind."""

    def other(name, model):
        runner = TransformersEngine(tiny.a_little_off(model))
        monkeypatch.setattr(runner, "update", lambda model: None)
        return Choice(runner, "planted")

    monkeypatch.setattr(engines, "choose", other)
    sampler_gap._say.cache_clear()


def test_the_log_of_each_step_has_the_gap(tmp_path, inputs, caplog):
    assert train(tmp_path, inputs, "--engine", "ctranslate2").exit_code == 0
    for row in steps(tmp_path):
        assert 0 < row["sampler_gap"] < 1e-5
        assert 0 <= row["sampler_kl"] < 1e-9
        assert row["sampler_effective_share"] == pytest.approx(1, abs=1e-5)
        assert not {"sampler_ratio", "sampler_ratio_squared", "sampler_rollouts"} & row.keys()
    assert "--correct-sampler" not in caplog.text


def test_a_planted_mismatch_is_warned_of_once_and_corrected(tmp_path, inputs, mismatched, caplog):
    done = train(tmp_path / "plain", inputs)
    assert done.exit_code == 0, done.output
    assert all(row["sampler_effective_share"] < 0.95 and row["sampler_gap"] > 0.01 for row in steps(tmp_path / "plain"))
    assert caplog.text.count("use --correct-sampler") == 1
    caplog.clear()
    done = train(tmp_path / "corrected", inputs, "--correct-sampler")
    assert done.exit_code == 0, done.output
    assert "--correct-sampler" not in caplog.text
    first, other = (steps(tmp_path / name)[0] for name in ("plain", "corrected"))
    assert first["sampler_gap"] == other["sampler_gap"]  # the same rollouts
    assert first["grad_norm"] != other["grad_norm"]
    ends = [load_file(tmp_path / name / "runs/run/last/model.safetensors") for name in ("plain", "corrected")]
    assert any(not torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    for name, value in (("plain", False), ("corrected", True)):
        manifest = json.loads((tmp_path / name / "runs/run/manifest.json").read_text())
        assert manifest["settings"]["correct_sampler"] is value
    refused = train(tmp_path / "plain", inputs, "--correct-sampler")
    assert refused.exit_code == 1
    assert "correct_sampler was false and is now true" in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    ("method", "more", "said"),
    [
        ("kl", (), "The method 'kl' is no policy gradient"),
        ("ketchup", ("--engine", "ctranslate2", "--temperature", "0.7"), "ctranslate2 does not tell them with"),
    ],
)
def test_what_cannot_be_corrected_is_a_sentence(tmp_path, inputs, method, more, said):
    done = train(tmp_path, inputs, "--correct-sampler", *more, method=method)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())
