"""The whole command against a real vLLM: a Qwen2 of random weights, and SmolLM2.

KETCHUP_TEST_VLLM names the Python of an environment with vLLM. A server takes about a minute to start.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter

import pytest
from typer.testing import CliRunner

from ketchup.models.builtin import resolve
from ketchup_eval.cli import app
from ketchup_eval.judge.health import check_constrained
from ketchup_eval.judge.judge_settings import ReplySettings
from tests.judge.given import verdict_rows, words, write_inputs, write_jsonl
from tests.judge.vllm_models import OPTIONS, SETTINGS, Served, metric, python_with_vllm, served, tiny_qwen2
from tests.study.given import plan_with_judge, study_to_judge

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(not python_with_vllm(), reason="KETCHUP_TEST_VLLM names no Python with vLLM"),
]
NAME = "tiny"


def invoke(*arguments):
    return CliRunner().invoke(app, [str(word) for word in arguments])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_qwen2(tmp_path_factory.mktemp("tiny"), resolve("smollm2-135m"))


@pytest.fixture(scope="module")
def server(tiny, tmp_path_factory):
    with served(tiny, NAME, tmp_path_factory.mktemp("server")) as (url, process):
        yield Served(url, process)


def options(**more):
    return {"model": NAME, "timeout": 300, "max_tokens": 40, "constrained": True} | more


def test_64_calls_in_flight_are_all_answered_once_and_prefixes_are_cached(tmp_path, server):
    write_inputs(tmp_path, items=32, sentences=80)  # more than the 128 tokens that are cached together on a CPU
    before = metric(server, "prefix_cache_hits_total")
    done = invoke(*words(tmp_path, server, **options(concurrency=64, logprobs=True)))
    assert done.exit_code == 0, done.output
    rows = verdict_rows(tmp_path)
    assert len({row["key"] for row in rows}) == len(rows) == 128
    assert {row["preferred"] for row in rows} <= {"A", "B"}
    assert all(row["usage"]["prompt"] > 100 and row["finish_reason"] == "stop" for row in rows)
    assert all(0 <= row["probability_of_a"] <= 1 for row in rows)
    assert metric(server, "prefix_cache_hits_total") > before
    assert sum(row["usage"]["cached"] or 0 for row in rows) > 0
    assert invoke(*words(tmp_path, server, **options(logprobs=True))).exit_code == 0
    assert len(verdict_rows(tmp_path)) == 128


def test_constraints_are_honoured(server):
    check_constrained(server, ReplySettings(NAME))


def test_a_model_that_the_server_lacks(tmp_path, server):
    write_inputs(tmp_path)
    done = invoke(*words(tmp_path, server, **options(model="other", constrained=False)))
    assert done.exit_code == 1
    assert "has no model 'other'" in done.stderr


def test_a_prompt_that_is_too_long_is_counted_and_not_tried_again(tmp_path, server):
    write_inputs(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    rows[2]["prediction"] = "far too long " * 2000
    write_jsonl(tmp_path / "a.jsonl", rows)
    arguments = words(tmp_path, server, **options())
    done = invoke(*arguments)
    if "No reply about the first item" in done.stderr:
        done = invoke(*arguments)
    assert done.exit_code == 3, done.output
    found = json.loads((tmp_path / "runs/judge/judge.json").read_text())["comparisons"][0]["counts"]
    assert (found["too_long"], found["parsed"], found["missing"]) == (4, 16, 0)
    assert {row["attempts"] for row in verdict_rows(tmp_path)} == {1}


def test_doctor(server):
    done = invoke("doctor", "--judge", "--model", NAME, "--base-url", server)
    assert "ok   model: The server has tiny." in done.stdout
    assert "FAIL context: Prompts may have 2,048 tokens" in done.stdout
    assert "ok   constrained" in done.stdout


def test_a_study_whose_server_is_killed_in_the_middle_and_started_again(tmp_path, server, tiny):
    """The last test of the server that the others share."""
    more = f'model = "{NAME}"\ntimeout = 300\nmax_tokens = 40\nconstrained = true\nattempts = 3\nconcurrency = 16\n'
    plan = study_to_judge(tmp_path, f'base_url = "{server}"\n{more}', items=40)
    command = [sys.executable, "-m", "ketchup_eval.cli", "study", str(plan), "--runs-dir", str(tmp_path / "runs")]
    study = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    folder = tmp_path / "runs/judged"
    store = folder / "judge-s-xsum/verdicts.jsonl"
    while not (store.exists() and len(store.read_bytes().splitlines()) >= 30):
        assert study.poll() is None
        time.sleep(0.02)
    os.killpg(server.process.pid, signal.SIGKILL)
    errors = study.communicate(timeout=120)[1]
    assert study.returncode == 3, errors
    assert re.search(r"judge-s-xsum failed: .*cannot be reached", errors)
    assert 30 <= len(store.read_bytes().splitlines()) < 320
    with served(tiny, NAME, tmp_path / "again") as (url, _):  # at another address
        plan_with_judge(tmp_path, f'base_url = "{url}"\n{more}')
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = Counter(json.loads(line)["key"] for line in store.read_text().splitlines())
    assert len(counts) == 320  # two methods against the reference, 40 items, four variants
    assert set(counts.values()) == {1}
    content = json.loads((folder / "study.json").read_text())
    assert [row["state"] for row in content["commands"] if row["kind"] == "judge"] == ["done"]
    assert content["judge"][0]["result"]["complete"]
    assert "win rate over kl" in done.stdout
    assert 'href="judge-s-xsum/judge.html"' in (folder / "study.html").read_text()


def test_smollm2_served_by_the_command_itself(tmp_path, monkeypatch):
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    write_inputs(tmp_path, items=3)
    more = {"serve": "smollm2-135m", "serve_python": python_with_vllm(), "serve_options": " ".join(OPTIONS)}
    done = invoke(*words(tmp_path, "http://127.0.0.1:9/v1", **options(**more)))
    assert done.exit_code == 0, done.output
    rows = verdict_rows(tmp_path)
    assert len(rows) == 12
    assert {row["server_model"] for row in rows} == {"smollm2-135m"}
    port = re.search(r"--port (\d+)|127\.0\.0\.1:(\d+)", (tmp_path / "runs/judge/server.log").read_text())
    assert port
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port[1] or port[2]}/health")
