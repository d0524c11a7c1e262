"""Processes that share a command's work and were not started alike: one sentence, and nothing is computed."""

import json

import pytest

from tests import tiny
from tests.commands import together, write_data

COMMANDS = {
    "variance": ["variance", "--samples", 4, "--name", "run", "--student"],
    "evaluate": ["evaluate", "--metrics", "accuracy", "--name", "run"],
    "train": ["train", "ketchup", "--k", 2, "--steps", 2, "--batch-size", 2, "--name", "run", "--student"],
}

SOON = {"ketchup.manifests.SECONDS_TO_SEE_A_FILE": 1.0}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    for name in ("data", "other"):
        written = write_data(folder / name, train=8, validation=3, test=6)
        rows = [{"question": "ab" if name == "data" else "ba", "answer": f"a #### {place}"} for place in range(6)]
        (written / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "other/train.jsonl").write_text((folder / "other/test.jsonl").read_text())
    tiny.save("t5", folder / "teacher", seed=1)
    tiny.save("t5", folder / "student", seed=2)
    return folder


def both(folder, inputs, command, first, second):
    """The command in two processes, each with options of its own; it is to fail in both."""
    given = [*COMMANDS[command], inputs / "student", "--teacher", inputs / "teacher", "--task", "gsm8k"]
    given += ["--data", inputs / "data", "--threads", 1, "--max-new-tokens", 6, "--runs-dir", folder / "runs"]
    done = together(folder, [*given, *first], [*given, *second], values=SOON)
    for process in done:
        assert process.code == 1, process
        (said,) = process.stderr.splitlines()
    assert not [*folder.rglob("part-*"), *folder.rglob("metrics.jsonl"), *folder.rglob("*.started")]
    return said


@pytest.mark.parametrize(
    ("command", "first", "second", "said"),
    [
        ("variance", ["--k", 1, 2], ["--k", 1, 4], "estimators is "),
        ("variance", ["--limit", 2], [], "limit is 2 in the first and null there"),
        ("variance", ["--gradient"], [], 'gradient.where is "head" in the first and unset there'),
        ("evaluate", ["--max-new-tokens", 5], [], "max_new_tokens is 5 in the first and 6 there"),
        ("train", ["--lr", 0.1], ["--lr", 0.2], "learning_rate is 0.1 in the first and 0.2 there"),
        ("train", ["--teacher-dtype", "bfloat16"], [], 'teacher_dtype is "bfloat16" in the first and "float32" there'),
    ],
)
def test_processes_that_disagree_on_settings(tmp_path, inputs, command, first, second, said):
    found = both(tmp_path, inputs, command, first, second)
    assert found.startswith("Error: Process 1 was started with other settings or has other files: ")
    assert said in found
    assert found.endswith("; start all by one command, on machines with the same files.")


@pytest.mark.parametrize("command", COMMANDS)
def test_processes_whose_machines_have_other_rows(tmp_path, inputs, command):
    other = inputs / "other"
    found = both(tmp_path, inputs, command, [], ["--data", other])
    assert "rows_fingerprint is " in found


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_folder_that_is_not_shared(tmp_path, inputs, command):
    found = both(tmp_path, inputs, command, ["--runs-dir", "here"], ["--runs-dir", "here"])
    assert "is not one folder for all 2 processes (number 1 does not see what the first writes)" in found
    assert found.endswith("put --runs-dir on a file system that all machines share.")
