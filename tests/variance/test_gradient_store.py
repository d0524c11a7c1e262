"""Gradients on disk: the same bytes however they were made, and nothing made twice."""

import json
import shutil
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ketchup_eval.cli import app
from ketchup_eval.variance.gradient.of_rollouts import HeadGradients
from tests import tiny
from tests.commands import Kill, ketchup, together, write_data

INPUTS = 28
"""Four parts: eight inputs a part."""
WRITE = "ketchup_eval.variance.gradient.store.write_sealed"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_data(folder / "data", test=INPUTS)
    tiny.save("t5", folder / "teacher", seed=1)
    tiny.save("t5", folder / "student", seed=2)
    return folder


def arguments(inputs, *more):
    given = ["variance", "--task", "gsm8k", "--data", inputs / "data", "--teacher", inputs / "teacher"]
    given += ["--student", inputs / "student", "--samples", 32, "--max-new-tokens", 6, "--threads", 1, "--k", 1, 2]
    return [str(word) for word in [*given, "--gradient", "--estimator", "shrink:0.5", *more]]


def invoke(folder, inputs, *more):
    return CliRunner().invoke(app, arguments(inputs, "--runs-dir", folder / "runs", *more))


def parts(folder):
    found = sorted((folder / "runs/variance-gsm8k/gradients").rglob("part-*.parquet"))
    return {path.name: path.read_bytes() for path in found}


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "runs").rglob("gradients/**/part-*.parquet")}


def result_of(folder):
    content = json.loads((folder / "runs/variance-gsm8k/variance.json").read_text())
    del content["seconds"]
    return content


@pytest.fixture(scope="module")
def study(tmp_path_factory, inputs):
    folder = tmp_path_factory.mktemp("study")
    done = ketchup(folder, *arguments(inputs))
    assert done.code == 0, done.stderr
    assert len(parts(folder)) == 4
    return folder


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """They take most of the time."""
    for module, name in (("variance", "write_variance"), ("theory", "write_theory"), ("gradient", "write_gradient")):
        monkeypatch.setattr(f"ketchup_eval.report.{module}_figure.{name}_figure", lambda result, run: [])


@pytest.fixture
def finished(tmp_path, study):
    shutil.copytree(study / "runs", tmp_path / "runs")
    return tmp_path


@pytest.fixture
def taken(monkeypatch):
    """How many rows of weights each input's gradients were taken for."""
    counts, own = [], HeadGradients.of

    def counted(self, rollouts, weights):
        counts.append(len(weights))
        return own(self, rollouts, weights)

    monkeypatch.setattr(HeadGradients, "of", counted)
    return counts


@pytest.mark.parametrize("kill", [Kill(WRITE, 2), Kill("pyarrow.parquet.write_table", 6)])
def test_a_killed_study_goes_on_where_it_was(tmp_path, study, inputs, kill):
    assert ketchup(tmp_path, *arguments(inputs), kill=kill).code == -signal.SIGKILL
    before = times(tmp_path)
    assert len(before) == (2 if kill.function == WRITE else 1)
    done = ketchup(tmp_path, *arguments(inputs))
    assert done.code == 0, done.stderr
    assert before.items() <= times(tmp_path).items()
    assert parts(tmp_path) == parts(study)
    assert result_of(tmp_path) == result_of(study)


def test_two_processes_write_what_one_writes(tmp_path, study, inputs):
    words = arguments(inputs, "--runs-dir", tmp_path / "runs")
    for done in together(tmp_path, words, words):
        assert done.code == 0, done.stderr
    assert parts(tmp_path) == parts(study)
    assert result_of(tmp_path) == result_of(study)


def test_a_part_says_what_it_holds(study):
    """The squared norm of a mean is at most the mean of squared norms."""
    table = pq.read_table(next((study / "runs").rglob("gradients/*/head-*/part-00000.parquet")))
    assert table.column("id").to_pylist() == [f"gsm8k-test-{index}" for index in range(8)]
    for name in ("llmr|gauge:raw|baseline:none", "k-step:2|tail:segment|gauge:raw|baseline:leave-one-out-per-step"):
        means = np.array(table.column(name).to_pylist())
        squares = table.column(f"squared norm of {name}").to_numpy()
        assert means.shape == (8, 6 * 16)
        assert (np.square(means).sum(1) > 0).all()
        assert (np.square(means).sum(1) <= squares).all()


def test_other_batches_need_no_gradients_and_other_rows_their_own(finished, inputs, taken):
    before = result_of(finished)
    assert invoke(finished, inputs, "--batch", 32).exit_code == 0
    assert taken == []
    first = result_of(finished)["students"][0]["gradient"]
    assert first["recommendation"]["batch"] == 32
    assert invoke(finished, inputs, "--baseline", "none", "leave-one-out-per-step", "mean").exit_code == 0
    assert taken == [3] * INPUTS  # llmr, K = 2 and shrink:0.5 with the new baseline
    taken.clear()
    assert invoke(finished, inputs).exit_code == 0
    assert taken == []
    assert result_of(finished) == before


def test_where_gradients_are_taken_and_how_they_are_shortened_are_kept_apart(finished, inputs, taken):
    kept = times(finished)
    for more in (["--projection", 64], ["--gradient-of", "last-block"]):
        done = invoke(finished, inputs, *more)
        assert done.exit_code == 0, done.stderr
    assert len(taken) == INPUTS
    folders = {path.name.rsplit("-", 1)[0] for path in (finished / "runs").glob("*/gradients/*/*")}
    assert folders == {"head", "last-block"}
    assert len(list((finished / "runs").rglob("gradients/*/*/part-*.parquet"))) == 3 * len(kept)


def test_gradients_of_other_rollouts_are_made_anew(tmp_path, inputs, taken):
    data = shutil.copytree(inputs / "data", tmp_path / "data")
    assert invoke(tmp_path, inputs, "--data", data).exit_code == 0
    before, count = times(tmp_path), len(taken)
    lines = (data / "test.jsonl").read_text().splitlines()
    lines[9] = json.dumps({"question": "dddd", "answer": "a"})
    (data / "test.jsonl").write_text("".join(line + "\n" for line in lines))
    assert invoke(tmp_path, inputs, "--data", data).exit_code == 0
    assert len(taken) == count + 8
    after = times(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"part-00001.parquet"}
    assert invoke(tmp_path, inputs, "--data", data, "--limit", 11).exit_code == 0
    assert len(taken) == count + 8 + 3


def test_a_damaged_part_is_named(finished, inputs):
    before = result_of(finished)
    path = next((finished / "runs").rglob("gradients/*/head-*/part-00002.parquet"))
    content = path.read_bytes()
    for damaged in (content[:-100], content[:2000] + b"\0" + content[2001:], b""):
        path.write_bytes(damaged)
        done = invoke(finished, inputs)
        assert done.exit_code == 1
        assert done.stderr.startswith(f"Error: {path} is damaged (")
        assert "delete this file and run the same command again" in done.stderr
        assert result_of(finished) == before
    path.unlink()
    assert invoke(finished, inputs).exit_code == 0
    assert path.read_bytes() == content
