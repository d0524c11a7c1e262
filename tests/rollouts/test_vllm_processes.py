"""vLLM in processes of its own: one for each of ours, and one model spread over two of them, with a real vLLM on a CPU.

Runs where vLLM is installed beside ketchup.
"""

import gc
import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec

import psutil
import pytest
import torch
from safetensors.torch import load_file

from ketchup.errors import ModelError
from ketchup.rollouts.engines import engine
from ketchup.rollouts.types import Decoding
from tests import tiny
from tests.commands import write_data
from tests.rollouts import contract
from tests.rollouts.contract import PROMPTS, assert_drawn_from

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed in this environment"),
    pytest.mark.filterwarnings(
        "ignore:::vllm.*", "ignore::DeprecationWarning:torch.*", "ignore:Unclosed context <zmq:ResourceWarning"
    ),
]
INPUTS = 60
"""Eight parts of rollouts of 32 each."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_data(folder / "data", train=8, validation=2)
    rows = [{"question": "abcd"[: 1 + index % 4] * 3, "answer": f"a #### {index % 3}"} for index in range(INPUTS)]
    (folder / "data/test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny.save(tiny.WIDE, folder / "teacher", seed=1)
    tiny.save(tiny.WIDE, folder / "student", seed=2)
    return folder


def start(folder, inputs, *words):
    folder.mkdir(exist_ok=True)
    given = [*words, "--student", inputs / "student", "--teacher", inputs / "teacher"]
    given += ["--task", "gsm8k", "--data", inputs / "data", "--threads", 1, "--name", "run"]
    return subprocess.Popen(
        [sys.executable, "-m", "ketchup_eval.cli", *map(str, given)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    stdout, stderr = process.communicate(timeout=400)
    assert process.returncode == 0, stderr
    return stdout


VARIANCE = ("variance", "--samples", 32, "--k", 1, 2, "--max-new-tokens", 20, "--engine", "vllm", "--json")


def parts(folder):
    return {file.name: file.read_bytes() for file in (folder / "runs/run").rglob("part-*")}


def test_two_processes_with_a_vllm_each_write_what_one_writes_also_after_a_kill(tmp_path, inputs):
    alone = json.loads(finish(start(tmp_path / "one", inputs, *VARIANCE)))
    whole = parts(tmp_path / "one")
    assert len(whole) == 8

    doomed = start(tmp_path / "two", inputs, *VARIANCE, "--processes", 2)
    while not parts(tmp_path / "two"):
        assert doomed.poll() is None
        time.sleep(0.01)
    others = psutil.Process(doomed.pid).children(recursive=True)
    assert len(others) >= 4  # two of ours, and at least one of vLLM for each
    doomed.kill()
    doomed.communicate()
    assert not psutil.wait_procs(others, timeout=30)[1]  # no GPU would be held
    before = parts(tmp_path / "two")
    assert before.items() < whole.items()

    both = json.loads(finish(start(tmp_path / "two", inputs, *VARIANCE, "--processes", 2)))
    assert parts(tmp_path / "two") == whole
    assert {**both, "seconds": None} == {**alone, "seconds": None}


def test_every_step_of_two_processes_draws_from_the_weights_of_the_step_before(tmp_path, inputs):
    """Greedy rollouts do not depend on who draws them, so that a student drawn by transformers ends the same."""
    ends = []
    for name in ("transformers", "vllm"):
        words = ["train", "ketchup", "--k", 2, "--temperature", 0, "--steps", 3, "--batch-size", 2, "--lr", 0.02]
        finish(start(tmp_path / name, inputs, *words, "--max-new-tokens", 6, "--engine", name, "--processes", 2))
        ends.append(load_file(tmp_path / name / "runs/run/last/model.safetensors"))
    assert all(torch.equal(ends[0][weight], ends[1][weight]) for weight in ends[0])
    begin = load_file(inputs / "student/model.safetensors")
    assert any(not torch.equal(begin[weight], ends[1][weight]) for weight in begin)


def test_a_model_in_two_parts_is_sampled_and_takes_new_weights(monkeypatch):
    monkeypatch.setenv("RANK", "1")  # which vLLM would take for its own
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    model = tiny.language_model(tiny.WIDE, padding_rows=3)
    changed = ("RANK", "LOCAL_WORLD_SIZE", "LD_PRELOAD", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in changed}
    runner = engine("vllm:tp2", model)
    assert before == {name: os.environ.get(name) for name in changed}
    assert runner.name == "vllm:tp2"
    contract.check_samples_follow_the_distribution(runner, model)
    contract.check_log_probs_are_those_that_tokens_were_drawn_with(runner, model)
    contract.check_greedy_takes_the_likeliest_token(runner, model)
    contract.check_seeds_decide_the_rows(runner)
    model.network.load_state_dict(tiny.network(tiny.WIDE, model.vocabulary + 3, seed=5).state_dict())
    runner.update(model)
    rows = runner.sample(PROMPTS, None, 3000, Decoding(2), seed=5).rows
    for index, prompt in enumerate(PROMPTS):
        assert_drawn_from(rows[index * 3000 : (index + 1) * 3000], tiny.sequence_probabilities(model, prompt, 2))
    workers = [one for one in psutil.Process().children(recursive=True) if "VLLM" in one.name()]
    assert len(workers) >= 2
    del runner
    gc.collect()
    assert not psutil.wait_procs(workers, timeout=30)[1]


def test_what_stops_the_processes_of_vllm_is_said_in_one_sentence(capfd):
    model = tiny.language_model("llama")  # the heads are too small
    with pytest.raises(ModelError, match=r"vLLM cannot run 'tiny-llama-0' \(.*head.*\); use --engine transformers\."):
        engine("vllm:tp2", model)
    assert "Traceback" not in capfd.readouterr().err
