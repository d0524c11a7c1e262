"""A training run that is killed anywhere and started again ends as one that was not."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from ketchup.files import run_lock
from tests.commands import Kill, ketchup
from tests.training.runs import STEPS, Run, assert_same, train_arguments, unbroken_run


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, inputs):
    return unbroken_run(tmp_path_factory, inputs, "sft")


@pytest.fixture(scope="module")
def unbroken_float16(tmp_path_factory, inputs):
    return unbroken_run(tmp_path_factory, inputs, "sft", "--save-dtype", "float16")


@pytest.fixture(scope="module")
def unbroken_seqkd(tmp_path_factory, inputs):
    return unbroken_run(tmp_path_factory, inputs, "seqkd")


def test_a_run_leaves_its_milestones_the_last_and_the_best_checkpoint(unbroken):
    validated = [row for row in unbroken.metrics if row["step"] and "validation_loss" in row]
    best = min(validated, key=lambda row: row["validation_loss"])
    assert [row["step"] for row in unbroken.metrics if "validation_loss" in row] == [0, 2, 4, 6, 8, 10, 12]
    assert unbroken.links == {
        "last": f"checkpoints/step-{STEPS:06d}",
        "best": f"checkpoints/step-{best['step']:06d}",
    }
    assert set(unbroken.weights) == {f"step-{step:06d}" for step in {3, 7, STEPS, best["step"]}}
    trainers = [file.parent.name for file in unbroken.folder.glob("checkpoints/*/trainer.pt")]
    assert trainers == [f"step-{STEPS:06d}"]
    for name in ("last", "best"):
        from ketchup.models.loading import load

        assert load(str(unbroken.folder / name)).vocabulary == 6


CHECKPOINTS = "ketchup.training.checkpoints"
KILLS = {
    "before the first checkpoint": Kill("ketchup.training.loop.total_steps"),
    "after a later row": Kill("ketchup.training.loop.append_jsonl", 4),
    "before a row, its step done": Kill("ketchup.training.loop.append_jsonl", 5, "before"),
    "the first checkpoint half written": Kill("torch.save", 1, "before"),
    "a later checkpoint half written": Kill("torch.save", 4, "before"),
    "between rename and links": Kill(f"{CHECKPOINTS}._point", 4, "before"),
    "between last and best": Kill(f"{CHECKPOINTS}._point", 1, "after"),
    "before the old ones go": Kill(f"{CHECKPOINTS}._prune", 3, "before"),
    "in the middle of removing": Kill(f"{CHECKPOINTS}.shutil.rmtree", 4, "after"),
    "after the last checkpoint": Kill(f"{CHECKPOINTS}._prune", 7, "before"),
}


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_a_killed_run_ends_as_an_unbroken_one(tmp_path, inputs, unbroken, kill):
    arguments = train_arguments(inputs)
    assert ketchup(tmp_path, *arguments, kill=kill).code == -signal.SIGKILL
    done = ketchup(tmp_path, *arguments)
    assert done.code == 0, done.stderr
    assert "Warning" not in done.stderr
    run = Run(tmp_path / "runs/sft-gsm8k")
    assert_same(run, unbroken)
    assert run.files == unbroken.files


def test_the_best_checkpoint_is_linked_even_after_a_kill_between_the_links(tmp_path, inputs, unbroken):
    """At the last best step: no later one mends the link."""
    best = int(unbroken.links["best"][-6:])
    links = sum(2 if step in best_steps(unbroken) else 1 for step in saved_steps(unbroken) if step <= best)
    arguments = train_arguments(inputs)
    kill = Kill(f"{CHECKPOINTS}._point", links, "before")
    assert ketchup(tmp_path, *arguments, kill=kill).code == -signal.SIGKILL
    run = Run(tmp_path / "runs/sft-gsm8k")
    assert run.links["last"] != run.links["best"]
    assert ketchup(tmp_path, *arguments).code == 0
    assert_same(run, unbroken)


def best_steps(run):
    """The steps that were the best when they came."""
    lowest, steps = float("inf"), []
    for row in run.metrics[1:]:
        if row.get("validation_loss", lowest) < lowest:
            lowest = row["validation_loss"]
            steps.append(row["step"])
    return steps


def saved_steps(run):
    return {*best_steps(run), 3, 4, 7, 8, STEPS}


def test_many_kills_in_a_row(tmp_path, inputs, unbroken):
    arguments = train_arguments(inputs)
    for kill in (
        Kill("ketchup.training.loop.append_jsonl", 3),
        Kill("torch.save", 2, "before"),
        Kill(f"{CHECKPOINTS}._point", 2, "before"),
        Kill("ketchup.manifests.write_kept_json", 1, "before"),  # while the manifest takes down the resumption
    ):
        assert ketchup(tmp_path, *arguments, kill=kill).code == -signal.SIGKILL
    assert ketchup(tmp_path, *arguments).code == 0
    assert_same(Run(tmp_path / "runs/sft-gsm8k"), unbroken)


def test_a_kill_while_rows_of_lost_steps_are_forgotten_loses_no_other_row(tmp_path, inputs, unbroken):
    arguments = train_arguments(inputs)
    # Rows of steps 2, 4, 6, ... ; the checkpoint of step 8 is not whole, so row 8 has to go and the others to stay.
    kill = Kill("ketchup.training.loop._save", sum(step <= 8 for step in saved_steps(unbroken)), "before")
    assert ketchup(tmp_path, *arguments, kill=kill).code == -signal.SIGKILL
    run = Run(tmp_path / "runs/sft-gsm8k")
    assert run.metrics[-1]["step"] == 8
    for function in ("ketchup.training.loop.append_jsonl", "pathlib.Path.unlink", "pathlib.Path.replace"):
        ketchup(tmp_path, *arguments, kill=Kill(function, 1))
    assert ketchup(tmp_path, *arguments).code == 0
    assert_same(run, unbroken)


def test_a_finished_run_is_left_alone(tmp_path, inputs, unbroken):
    times = {file: file.stat().st_mtime_ns for file in unbroken.folder.glob("checkpoints/*/*")}
    folder = unbroken.folder.parents[1]
    done = ketchup(folder, *train_arguments(inputs), kill=Kill("ketchup.training.loop._optimiser_step", 1, "before"))
    assert done.code == 0
    assert done.stdout.strip() == str(unbroken.folder / unbroken.links["last"])
    assert {file: file.stat().st_mtime_ns for file in unbroken.folder.glob("checkpoints/*/*")} == times


def test_float16_checkpoints_resume_from_the_float32_weights(tmp_path, inputs, unbroken_float16):
    arguments = train_arguments(inputs, "sft", "--save-dtype", "float16")
    assert ketchup(tmp_path, *arguments, kill=Kill("ketchup.training.loop.append_jsonl", 5)).code == -signal.SIGKILL
    run = Run(tmp_path / "runs/sft-gsm8k")
    content = torch.load(run.folder / "last" / "trainer.pt", weights_only=True)
    assert {value.dtype for value in content["weights"].values()} == {torch.float32}
    assert ketchup(tmp_path, *arguments).code == 0
    assert_same(run, unbroken_float16)


def test_float16_checkpoints_are_those_of_float32_in_half_the_size(unbroken, unbroken_float16):
    from safetensors.torch import load

    wide, narrow = load(unbroken.weights["step-000007"]), load(unbroken_float16.weights["step-000007"])
    assert all(torch.equal(wide[name].half(), narrow[name]) for name in wide)
    assert unbroken.metrics == unbroken_float16.metrics


def test_the_module_itself_runs_as_a_program(tmp_path, inputs, unbroken):
    """What launchers start: `python -m ketchup_eval.cli`."""
    arguments = [str(argument) for argument in train_arguments(inputs)]
    # The threads of the forked processes; unset, another number of them would sum in another order.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "ketchup_eval.cli", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert_same(Run(tmp_path / "runs/sft-gsm8k"), unbroken)


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [("--lr", 0.5, "learning_rate was 0.02 and is now 0.5"), ("--seed", 7, "seed was 0 and is now 7")],
)
def test_a_run_with_other_settings_is_refused_by_name(inputs, unbroken, option, value, named):
    done = ketchup(unbroken.folder.parents[1], *train_arguments(inputs, "sft", option, value))
    assert done.code == 1
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_run_in_use_is_refused(inputs, unbroken):
    with run_lock(unbroken.folder):
        done = ketchup(unbroken.folder.parents[1], *train_arguments(inputs))
    assert done.code == 1
    assert f"in use by process {os.getpid()}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def outputs_file(folder):
    (file,) = folder.glob("runs/teacher-outputs/*/outputs.jsonl")
    return file


GENERATE = "ketchup.rollouts.fill.sample"


def test_teacher_outputs_are_generated_once(tmp_path, inputs, unbroken_seqkd):
    arguments = train_arguments(inputs, "seqkd")
    folder = unbroken_seqkd.folder.parents[1]
    file = outputs_file(folder)
    assert len(file.read_text().splitlines()) == 75
    before = file.read_bytes()
    # A second run, under another name, would die when it generates.
    done = ketchup(folder, *arguments, "--name", "again", kill=Kill(GENERATE, 1, "before"))
    assert done.code == 0, done.stderr
    assert file.read_bytes() == before
    assert_same(Run(folder / "runs/again"), unbroken_seqkd)


@pytest.mark.parametrize(
    ("writes", "blocks"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)], ids=["64", "all 70", "gathered", "75", "the last"]
)
def test_a_kill_while_the_teacher_writes_loses_no_written_block(tmp_path, inputs, unbroken_seqkd, writes, blocks):
    """70 training inputs in two parts, which become one file, then 5 validation inputs in one."""
    arguments = train_arguments(inputs, "seqkd")
    kill = Kill("ketchup.rollouts.lines.write_jsonl", writes)
    assert ketchup(tmp_path, *arguments, kill=kill).code == -signal.SIGKILL
    # a block that is there is not generated again
    done = ketchup(tmp_path, *arguments, kill=Kill(GENERATE, 3 - blocks + 1, "before"))
    assert done.code == 0, done.stderr
    assert outputs_file(tmp_path).read_bytes() == outputs_file(unbroken_seqkd.folder.parents[1]).read_bytes()
    assert not list(outputs_file(tmp_path).parent.glob("part-*"))
    assert_same(Run(tmp_path / "runs/seqkd-gsm8k"), unbroken_seqkd)


def test_a_torn_last_line_of_the_teachers_outputs_is_written_again(tmp_path, inputs, unbroken_seqkd):
    arguments = train_arguments(inputs, "seqkd")
    whole = outputs_file(unbroken_seqkd.folder.parents[1])
    copy = tmp_path / "runs/teacher-outputs" / whole.parent.name / whole.name
    copy.parent.mkdir(parents=True)
    copy.write_bytes(whole.read_bytes()[:-7])
    assert ketchup(tmp_path, *arguments).code == 0
    assert copy.read_bytes() == whole.read_bytes()
    assert_same(Run(tmp_path / "runs/seqkd-gsm8k"), unbroken_seqkd)


def test_a_killed_seqkd_run_ends_as_an_unbroken_one(tmp_path, inputs, unbroken_seqkd):
    arguments = train_arguments(inputs, "seqkd")
    assert ketchup(tmp_path, *arguments, kill=Kill("ketchup.training.loop.append_jsonl", 4)).code == -signal.SIGKILL
    assert ketchup(tmp_path, *arguments, kill=Kill(GENERATE, 1, "before")).code == 0
    assert_same(Run(tmp_path / "runs/seqkd-gsm8k"), unbroken_seqkd)
