"""Runs filled by one process, by two and by two of which one was killed: the same files, byte for byte."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from tests import tiny
from tests.commands import ketchup

PROGRAM = ["-m", "ketchup_eval.cli"]
INPUTS = 150
"""Three blocks of outputs, nineteen parts of rollouts."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "data").mkdir()
    rows = [{"question": "abcd"[: 1 + index % 4], "answer": f"a #### {index % 3}"} for index in range(INPUTS)]
    (folder / "data/test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny.save("t5", folder / "teacher", seed=1)
    tiny.save("t5", folder / "student", seed=2)
    return folder


def command(name, inputs, *more):
    models = {
        "variance": ["--student", inputs / "student", "--samples", 32, "--k", 1, 2],
        "evaluate": [inputs / "student", "--metrics", "accuracy", "--resamples", 50],
    }
    given = [name, *models[name], "--teacher", inputs / "teacher", "--task", "gsm8k", "--data", inputs / "data"]
    given += ["--max-new-tokens", 20, "--threads", 1, "--name", "run", "--json"]
    return [str(word) for word in [*given, *more]]


def launched(words):
    """The same command under `accelerate launch` with two processes."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    return [*launch, *PROGRAM, *words]


def start(folder, words):
    """The command, or the launcher that it is given to."""
    folder.mkdir()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.Popen(
        words if words[0] == sys.executable else [sys.executable, *PROGRAM, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, code=0):
    stdout, stderr = process.communicate(timeout=240)
    assert process.returncode == code, stderr
    return stdout, stderr


def results(folder):
    """The bytes of everything that was sampled."""
    files = [*(folder / "runs/run").rglob("part-*"), *(folder / "runs/run").rglob("test.jsonl")]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def alone(tmp_path_factory, inputs):
    folder = tmp_path_factory.mktemp("alone")
    found = {}
    for name in ("variance", "evaluate"):
        (folder / name).mkdir()
        done = ketchup(folder / name, *command(name, inputs))
        assert done.code == 0, done.stderr
        found[name] = json.loads(done.stdout), results(folder / name)
    return found


def numbers(content):
    """What was printed, without what the clock and folders decide."""
    return {name: value for name, value in content.items() if name != "seconds"}


@pytest.mark.parametrize(
    ("name", "launcher"), [("variance", "our own"), ("evaluate", "our own"), ("variance", "accelerate")]
)
def test_two_processes_write_what_one_writes(tmp_path, inputs, alone, name, launcher):
    words = command(name, inputs, "--processes", 2) if launcher == "our own" else launched(command(name, inputs))
    stdout, stderr = finish(start(tmp_path / "two", words))
    content, files = alone[name]
    assert len(files) == {"variance": 19, "evaluate": 1}[name]
    assert results(tmp_path / "two") == files
    assert numbers(json.loads(stdout)) == numbers(content)
    if launcher == "our own":
        assert "Warning" not in stderr


def test_the_blocks_of_a_killed_process_are_done_by_the_next_start(tmp_path, inputs, alone):
    words = command("variance", inputs, "--processes", 2)
    process = start(tmp_path / "two", words)
    while not results(tmp_path / "two"):
        assert process.poll() is None
        time.sleep(0.005)
    psutil.Process(process.pid).children()[1].kill()
    _, stderr = finish(process, code=1)
    assert "Process 1 of 2 was ended by signal 9" in stderr
    before = results(tmp_path / "two")
    content, files = alone["variance"]
    assert len(before) < len(files)
    assert before.items() <= files.items()
    again = ketchup(tmp_path / "two", *command("variance", inputs))
    assert again.code == 0, again.stderr
    assert results(tmp_path / "two") == files
    assert numbers(json.loads(again.stdout)) == numbers(content)


def test_no_process_outlives_the_one_that_started_it(tmp_path, inputs):
    process = start(tmp_path / "two", command("variance", inputs, "--processes", 2))
    while not results(tmp_path / "two"):
        assert process.poll() is None
        time.sleep(0.005)
    children = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(children, timeout=20)[1]


@pytest.mark.parametrize("count", [0, -1])
def test_a_number_of_processes_that_cannot_be(tmp_path, inputs, count):
    _, stderr = finish(start(tmp_path / "none", command("variance", inputs, "--processes", count)), code=2)
    assert stderr == f"Error: --processes must be at least 1, not {count}.\n"
