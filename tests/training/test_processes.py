"""Two processes under `accelerate launch`: the same gradient as one, one set of files, and resuming after a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from safetensors.torch import load_file

from ketchup.methods import method
from ketchup.methods.base import Trajectory
from ketchup.phases import Phases
from ketchup.processes import Processes
from ketchup.training import validation
from ketchup.training.experience import Student
from ketchup.training.weights import StudentWeights
from tests import tiny
from tests.commands import ketchup, together
from tests.training.given import TASK, inputs_of
from tests.training.runs import Run

STEPS = 4
METHODS = {
    "seqkd": [],
    "js": ["--temperature", 0],
    "ketchup": ["--k", 2, "--baseline", "mean-per-step", "--temperature", 0],
}
"""Greedy rollouts do not depend on who draws them, so one process and two must agree."""


def command(inputs, method, accumulation, folder, *more):
    given = ["train", method, *METHODS[method], "--student", inputs / "student", "--teacher", inputs / "teacher"]
    given += ["--task", "gsm8k", "--data", inputs / "data", "--max-new-tokens", 6, "--steps", STEPS]
    given += ["--batch-size", 2, "--accumulation", accumulation, "--lr", 0.001, "--eval-every", 2, "--save-every", 2]
    # a number of threads that does not change, since sums depend on it
    return [*given, "--threads", 1, "--runs-dir", folder / "runs", *more]


def launcher(processes):
    """`--multi_gpu` starts the processes through torchrun, also where there is no GPU (`--cpu` wants MPI)."""
    words = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", processes]
    return [*words, "--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", 0]


def start(folder, words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}
    folder.mkdir(exist_ok=True)
    with (folder / "output").open("w") as output:
        return subprocess.Popen(
            [str(word) for word in words],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def by_one(folder, words):
    folder.mkdir(exist_ok=True)
    done = ketchup(folder, *words)
    assert done.code == 0, done.stderr


def by_two(folder, words):
    """As a launcher starts them, and sooner: they are forked from a process that has imported the libraries."""
    for done in together(folder, words, words):
        assert done.code == 0, done.stderr


def weights_of(folder, method):
    return load_file(folder / f"runs/{method}-gsm8k/last/model.safetensors")


@pytest.mark.parametrize("shard", [[], ["--shard"]], ids=["replicated", "sharded"])
@pytest.mark.parametrize("method", ["js", "ketchup"])
def test_two_processes_end_as_one(tmp_path, inputs, method, shard):
    """1 process x 4 micro-batches = 2 processes x 2, to rounding, in weights and in what is logged."""
    folders = tmp_path / "1", tmp_path / "2"
    by_one(folders[0], command(inputs, method, 4, folders[0]))
    by_two(folders[1], command(inputs, method, 2, folders[1], *shard))
    one, two = (weights_of(folder, method) for folder in folders)
    # Adam makes a whole step of a gradient near 0, and of its rounding, which is another when sums are split otherwise.
    assert max((one[name] - two[name]).abs().max().item() for name in one) < (2e-5 if shard else 1e-5)
    begun = load_file(inputs / "student/model.safetensors")
    assert max((one[name] - begun[name]).abs().max().item() for name in one) > 1e-3
    rows = [Run(folder / f"runs/{method}-gsm8k").metrics for folder in folders]
    for alone, beside in zip(*rows, strict=True):
        assert alone.keys() == beside.keys()
        for name in alone:
            assert beside[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-5), name


@pytest.mark.parametrize("shard", [[], ["--shard"]], ids=["replicated", "sharded"])
def test_two_processes_go_on_after_a_kill(tmp_path, inputs, shard):
    """Killed are processes under `accelerate launch`, all at once."""
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    more = ("--schedule", "linear", "--temperature", 1, *shard)
    by_two(unbroken, command(inputs, "ketchup", 2, unbroken, *more))
    words = command(inputs, "ketchup", 2, broken, *more)
    process = start(broken, [*launcher(2), "-m", "ketchup_eval.cli", *words])
    metrics = broken / "runs/ketchup-gsm8k/metrics.jsonl"
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and len(metrics.read_text().splitlines()) > 2:
            break
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before the kill"
    assert not psutil.wait_procs(workers, timeout=20)[1]
    by_two(broken, words)
    one, other = (Run(folder / "runs/ketchup-gsm8k") for folder in (unbroken, broken))
    assert other.metrics == one.metrics
    assert other.weights == one.weights
    manifest = json.loads((broken / "runs/ketchup-gsm8k/manifest.json").read_text())
    assert manifest["settings"]["processes"] == 2
    assert len(manifest["resumed"]) == 1


def validate(words, prog_name):
    """Writes what this process, alone or one of two, finds by three methods."""
    validation.BLOCK = 3
    processes = Processes("float32")
    model, teacher = tiny.language_model("t5"), tiny.language_model("t5", seed=1)
    prompts = [[2 + place % 4] * (1 + place % 3) for place in range(11)]
    rows = [Trajectory.of(prompt, [2, 3, 1], [True, len(prompt) < 3, True]) for prompt in prompts]
    found = {}
    for name, options in {"ketchup": {"k": 2}, "js": {}, "seqkd": {}}.items():
        student = Student(StudentWeights(model), TASK, "auto", Phases())
        values = validation.validate(method(name, options), student, teacher, inputs_of(rows), 2, 5, processes)
        assert all(values == other for other in processes.everywhere(values))
        found[name] = values
    print(json.dumps(found))
    processes.finish()


def test_two_processes_validate_as_one_to_the_last_bit(tmp_path):
    """Drawn at temperature 1, with four blocks among two processes."""
    program = "tests.training.test_processes.validate"
    done = [ketchup(tmp_path, program=program), *together(tmp_path, [], [], program=program)]
    assert [run.code for run in done] == [0, 0, 0], [run.stderr for run in done]
    one, *others = (json.loads(run.stdout) for run in done)
    assert others == [one, one]
    assert all(len(set(values.values())) == len(values) for values in one.values())


def test_another_number_of_processes_is_refused(tmp_path, inputs):
    words = command(inputs, "seqkd", 4, tmp_path)
    by_one(tmp_path, words)
    refused = together(tmp_path, words, words)
    assert [done.code for done in refused] == [1, 1]
    assert "processes was 1 and is now 2" in refused[0].stderr


def sums(words, prog_name):
    p = Processes("float32")
    own = torch.arange(1.0, 3.0) if p.main else torch.arange(1.0, 5.0)
    assert p.total(own).tolist() == [2, 4, 3, 4], p.total(own)
    assert p.total(torch.tensor(p.index + 1)).item() == 3
    assert p.union(["a", "b"] if p.main else ["b", "c"]) == ["a", "b", "c"]
    assert p.share(range(5)) == range(p.index, 5, 2)
    weight = torch.nn.Parameter(torch.zeros(2))
    idle = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.full((2,), float(p.index + 1))
    p.add_up_gradients([weight, idle])
    assert weight.grad.tolist() == [3, 3]
    p.finish()


def test_sums_go_over_vectors_of_different_length(tmp_path):
    """What `Processes.total` promises, in two real processes."""
    for done in together(tmp_path, [], [], program="tests.training.test_processes.sums"):
        assert done.code == 0, done.stderr
