"""A teacher behind a real vLLM: a tiny decoder-only model whose local numbers are known to float32.

KETCHUP_TEST_VLLM names the Python of an environment with vLLM. A server takes about a minute to start.
"""

import json
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from ketchup.files import read_jsonl
from ketchup.models import scoring
from ketchup.models.loading import load
from ketchup.models.served.checks import check_served
from ketchup.models.served.teacher import ServedTeacher
from ketchup.remote.endpoint import Endpoint
from ketchup.remote.serving import TEXT
from ketchup_eval.cli import app
from tests import tiny
from tests.commands import write_data
from tests.judge.vllm_models import SETTINGS, Served, metric, python_with_vllm, served

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not python_with_vllm(), reason="KETCHUP_TEST_VLLM names no Python with vLLM"),
]
NAME = "teacher"
OPTIONS = ["--enforce-eager", "--dtype", "float32", "--max-model-len", "512"]
WORDS = (*"abcd", *map(chr, range(0x4E00, 0x4E00 + 400)))
"""More than one block of vLLM's vocabulary, and no multiple of one."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_data(folder / "data", train=8, validation=2, test=24)
    for name, seed in (("teacher", 1), ("student", 2)):
        tiny.save(tiny.WIDE, folder / name, seed=seed, words=WORDS)
    return folder


@pytest.fixture(scope="module")
def server(inputs, tmp_path_factory):
    with served(inputs / "teacher", NAME, tmp_path_factory.mktemp("server"), OPTIONS, TEXT) as (url, process):
        yield Served(url, process)


def words(folder, inputs, *more):
    given = ["variance", "--task", "gsm8k", "--data", inputs / "data", "--student", inputs / "student", "--name", "run"]
    given += ["--samples", 8, "--max-new-tokens", 12, "--k", 1, 2, 4, "--tail", "both", "--threads", 1]
    return [str(word) for word in [*given, "--device", "cpu", "--runs-dir", folder / "runs", *more]]


def result(folder):
    """The rows of the table, and the stored rollouts."""
    content = json.loads((folder / "runs/run/variance.json").read_text())
    parts = sorted((folder / "runs/run/rollouts").glob("*/*.parquet"))
    return content["students"][0]["estimates"], [row for part in parts for row in pq.read_table(part).to_pylist()]


@pytest.fixture(scope="module")
def local(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    done = CliRunner().invoke(app, words(folder, inputs, "--teacher", inputs / "teacher", "--gauge", "logprob"))
    assert done.exit_code == 0, done.output
    return result(folder)


def assert_same_table(found, known):
    for one, other in zip(found, known, strict=True):
        for name in ("variance", "bias", "variance_ratio", "mse", "theory_ratio", "same_as_llmr", "variance_mean_t"):
            for part in ("value", "low", "high", "n"):
                known_part = other[name][part]
                close = known_part if known_part is None else pytest.approx(known_part, rel=1e-3, abs=1e-3)
                assert one[name][part] == close, (one["estimator"], name, part)


def test_values_are_within_a_thousandth_of_a_nat(tmp_path, inputs, server):
    teacher, student = load(str(inputs / "teacher")), load(str(inputs / "student"))
    remote = ServedTeacher(NAME, Endpoint(server), tmp_path)
    check_served(remote, student)
    assert remote.max_tokens == 511
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(2, len(WORDS), (size,), generator=generator).tolist() for size in (1, 3, 150, 400)]
    tokens = torch.randint(0, len(WORDS), (12, 40), generator=generator)
    mask = torch.rand(12, 40, generator=generator) < 0.8
    here = scoring.score_teacher(teacher, prompts, tokens, mask)
    found = remote.values(prompts, tokens, mask)
    for values, known in ((found.q, here.q), (found.v, here.v)):
        assert (values - known + here.logsumexp)[mask].abs().max() < 1e-3
    assert (found.q == 0)[~mask].all()


def test_the_table_is_that_of_the_local_teacher(tmp_path, inputs, server, local):
    done = CliRunner().invoke(app, words(tmp_path, inputs, "--teacher", NAME, "--teacher-url", server))
    assert done.exit_code == 0, done.output
    found, rows = result(tmp_path)
    assert_same_table(found, local[0])
    assert [row["tokens"] for row in rows] == [row["tokens"] for row in local[1]]


def test_another_tokenizer_is_refused(tmp_path, inputs, server):
    tiny.save(tiny.WIDE, tmp_path / "student", seed=2, words=("b", "a", *WORDS[2:]))
    given = words(tmp_path, inputs, "--teacher", NAME, "--teacher-url", server, "--student", tmp_path / "student")
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 1, done.output
    assert f"The teacher '{NAME}' reads token 2 as 'a' and the student" in done.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--teacher", "other"], "has no model 'other'; name one that it serves with --teacher: teacher."),
        (["--teacher", NAME, "--max-new-tokens", "450"], "lower --max-new-tokens"),
    ],
)
def test_what_does_not_fit_is_said_before_work(tmp_path, inputs, server, more, said):
    done = CliRunner().invoke(app, words(tmp_path, inputs, "--teacher-url", server, *more))
    assert done.exit_code == 1, done.output
    assert said in done.stderr
    assert not list((tmp_path / "runs").glob("*/rollouts"))


def test_a_server_killed_in_the_middle_and_started_again(tmp_path, inputs, server, local):
    """The last test of the server that the others share."""
    given = words(tmp_path, inputs, "--teacher", NAME, "--teacher-url", server)
    run = subprocess.Popen([sys.executable, "-m", "ketchup_eval.cli", *given], stderr=subprocess.PIPE, text=True)
    answers = tmp_path / "runs/run/teacher-answers/answers-0.jsonl"
    while not (answers.exists() and len(answers.read_bytes().splitlines()) >= 10):
        assert run.poll() is None
        time.sleep(0.002)
    os.killpg(server.process.pid, signal.SIGKILL)
    errors = run.communicate(timeout=300)[1]
    assert run.returncode == 1, errors
    assert "is kept: start it and run the same command again" in errors
    kept = len(read_jsonl(answers)[0])
    assert kept >= 10
    with served(inputs / "teacher", NAME, tmp_path / "again", OPTIONS, TEXT) as (url, _):
        before = metric(url, "request_success_total")
        done = CliRunner().invoke(app, words(tmp_path, inputs, "--teacher", NAME, "--teacher-url", url))
        asked = metric(url, "request_success_total") - before
    assert done.exit_code == 0, done.output
    found, rows = result(tmp_path)
    assert_same_table(found, local[0])
    distinct = {(row["id"], tuple(row["tokens"])) for row in rows}
    assert kept < len(distinct)
    assert asked == len(distinct) - kept + 1  # the text that is asked about first


def test_a_server_of_the_commands_own(tmp_path, inputs, local, monkeypatch):
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    own = ["--serve", inputs / "teacher", "--serve-python", python_with_vllm(), "--serve-options", " ".join(OPTIONS)]
    done = CliRunner().invoke(app, words(tmp_path, inputs, *own))
    assert done.exit_code == 0, done.output
    assert_same_table(result(tmp_path)[0], local[0])
