"""Rollouts and adapters: the same after a kill, whatever it interrupted."""

import signal

import pytest
import torch

from tests.commands import Kill, ketchup
from tests.training.runs import Run, assert_same, train_arguments, unbroken_run


@pytest.fixture(scope="module")
def unbroken_ketchup(tmp_path_factory, inputs):
    return unbroken_run(tmp_path_factory, inputs, "ketchup")


@pytest.fixture(scope="module")
def unbroken_lora(tmp_path_factory, inputs):
    return unbroken_run(tmp_path_factory, inputs, "ketchup", "--lora", 2)


ROLLOUT_KILLS = {
    "while sampling": Kill("ketchup.training.experience.sample", 5, "before"),
    "with rollouts drawn": Kill("ketchup.training.experience.sample", 8),
    "with rollouts scored": Kill("ketchup.training.experience.score_teacher", 6),
    "with the gradient": Kill("ketchup.training.loop.accumulate", 7),
    "in validation": Kill("ketchup.training.validation.score", 3),
    "a checkpoint half written": Kill("torch.save", 2, "before"),
}


@pytest.mark.parametrize("kill", ROLLOUT_KILLS.values(), ids=ROLLOUT_KILLS)
def test_a_killed_ketchup_run_ends_as_an_unbroken_one(tmp_path, inputs, unbroken_ketchup, kill):
    arguments = train_arguments(inputs, "ketchup")
    assert ketchup(tmp_path, *arguments, kill=kill).code == -signal.SIGKILL
    done = ketchup(tmp_path, *arguments)
    assert done.code == 0, done.stderr
    assert_same(Run(tmp_path / "runs/ketchup-gsm8k"), unbroken_ketchup)


def test_the_best_checkpoint_of_a_policy_gradient_has_the_highest_return(unbroken_ketchup):
    validated = [row for row in unbroken_ketchup.metrics if row["step"] and "validation_return" in row]
    best = max(validated, key=lambda row: row["validation_return"])
    assert unbroken_ketchup.links["best"] == f"checkpoints/step-{best['step']:06d}"
    assert all("validation_loss" not in row for row in validated)


def test_a_killed_run_of_adapters_ends_as_an_unbroken_one(tmp_path, inputs, unbroken_lora, unbroken_ketchup):
    arguments = train_arguments(inputs, "ketchup", "--lora", 2)
    kill = Kill("ketchup.training.loop.accumulate", 7)
    assert ketchup(tmp_path, *arguments, kill=kill).code == -signal.SIGKILL
    assert ketchup(tmp_path, *arguments).code == 0
    assert_same(Run(tmp_path / "runs/ketchup-gsm8k"), unbroken_lora)
    content = torch.load(unbroken_lora.folder / "last" / "trainer.pt", weights_only=True)
    assert all("lora_" in name for name in content["weights"])
    first, other = unbroken_lora.metrics[0], unbroken_ketchup.metrics[0]
    assert first == other  # adapters begin as no change


def test_checkpoints_of_adapters_are_ordinary_models(inputs, unbroken_lora):
    from safetensors.torch import load_file

    before = load_file(inputs / "student/model.safetensors")
    after = load_file(unbroken_lora.folder / "last/model.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not any("norm" in name or "shared" in name for name in moved)
