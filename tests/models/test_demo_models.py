"""The shipped demo models are what the README says: small, trained by this project's commands, at falling KL."""

import json

import pytest
import torch

from ketchup.models.builtin import DEMO_FOLDER, DEMO_MODELS
from ketchup.models.loading import check_same_vocabulary, load
from ketchup.models.prompts import prompt_ids, text_of
from ketchup.models.scoring import score
from ketchup.rollouts.engines import engine
from ketchup.rollouts.sampling import sample
from ketchup.rollouts.types import Decoding
from ketchup.tasks import task_named
from ketchup.tasks.answers import extract_answer
from ketchup.tasks.rows import load_inputs

TASK = task_named("demo")
STUDENTS = ("demo-student-1", "demo-student-2", "demo-student-3")


def drawn(model, count, samples, temperature):
    inputs = load_inputs(TASK, "test", limit=count)
    prompts = [prompt_ids(model, TASK, one, "source") for one in inputs]
    decoding = Decoding(TASK.max_new_tokens, temperature)
    ids = [one.id for one in inputs]
    runner = engine("ctranslate2", model)
    return inputs, prompts, sample(runner, model, ids, prompts, samples, decoding, 0, calculator=True)


def test_the_teacher_solves_nine_of_ten_unseen_problems():
    teacher = load("demo-teacher")
    inputs, _, rollouts = drawn(teacher, 200, 1, 0.0)
    texts = [
        text_of(teacher, row[kept].tolist()) for row, kept in zip(rollouts.tokens, rollouts.token_mask, strict=True)
    ]
    solved = [
        abs((extract_answer(text) or 1e9) - extract_answer(one.reference)) < 1e-4
        for text, one in zip(texts, inputs, strict=True)
    ]
    assert sum(solved) >= 180


def test_the_students_are_at_clearly_falling_kl():
    teacher = load("demo-teacher")
    divergences = []
    for name in STUDENTS:
        student = load(name)
        check_same_vocabulary(teacher, student)
        _, prompts, rollouts = drawn(student, 16, 8, 1.0)
        _, values = score(teacher, student, prompts, rollouts.tokens, rollouts.action_mask)
        divergences.append(float(values.kl[rollouts.action_mask].mean()))
    first, second, third = divergences
    assert first > 1.15 * second > 1.15 * 1.15 * third > 0


@pytest.mark.parametrize("name", DEMO_MODELS)
def test_each_has_the_manifest_of_its_training(name):
    manifest = json.loads((DEMO_FOLDER / DEMO_MODELS[name] / "manifest.json").read_text())
    assert manifest["settings"]["method"] == ("sft" if name == "demo-teacher" else "seqkd")
    assert manifest["settings"]["task"] == "demo"
    assert load(name).network.dtype == torch.float32


def test_together_they_take_at_most_ten_megabytes():
    assert sum(path.stat().st_size for path in DEMO_FOLDER.rglob("*") if path.is_file()) <= 10 * 2**20
