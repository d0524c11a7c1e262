"""examples/kstep_in_a_loop.py learns, on the weights and with the gradient that it says."""

import copy
import inspect
from pathlib import Path

import pytest
import torch

import ketchup
from tests.examples.plain import expected_weights, policy_gradient

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import kstep_in_a_loop

    return kstep_in_a_loop


def test_the_student_learns(example):
    """Over 12 steps of 32 outputs its mean return rises by far more than it differs between steps."""
    torch.manual_seed(0)
    history = example.train(*example.tiny_pair()[1::-1], example.tiny_pair()[2], example.PROMPTS[:4], steps=12)
    assert sum(history[-3:]) / 3 > sum(history[:3]) / 3 + 5


def test_a_step_is_the_policy_gradient_of_k_step_returns(example, monkeypatch):
    """Against one output at a time; in a world where some outputs end early and prompts are padded."""
    teacher, student, tokenizer = example.tiny_pair()
    with torch.no_grad():
        student.lm_head.weight[tokenizer.eos_token_id] *= 3
    before, seen = copy.deepcopy(student), {}
    credit, step = ketchup.credit, torch.optim.AdamW.step

    def recorded(teacher_logits, ids, mask, **rest):
        seen.update(ids=ids, mask=mask, w=credit(teacher_logits, ids, mask, **rest))
        return seen["w"]

    def stepped(self, *args, **rest):
        seen["gradient"] = {name: weight.grad.clone() for name, weight in student.named_parameters()}
        return step(self, *args, **rest)

    monkeypatch.setattr(ketchup, "credit", recorded)
    monkeypatch.setattr(torch.optim.AdamW, "step", stepped)
    torch.manual_seed(1)
    example.train(student, teacher, tokenizer, ["a", "bad"], steps=1, samples=4)
    prompts = [tokenizer(prompt).input_ids for prompt in ("a", "bad") for _ in range(4)]
    outputs = [ids[there].tolist() for ids, there in zip(seen["ids"], seen["mask"], strict=True)]
    assert min(map(len, outputs)) < max(map(len, outputs))
    assert all(tokenizer.eos_token_id not in output[:-1] for output in outputs)
    weights = expected_weights(teacher, prompts, outputs, k=4)
    for row, expected in enumerate(weights):
        assert seen["w"].weights[row][seen["mask"][row]].tolist() == pytest.approx(expected, abs=1e-3)
    for name, expected in policy_gradient(before, prompts, outputs, weights).items():
        torch.testing.assert_close(seen["gradient"][name], expected, atol=1e-4, rtol=1e-3)


def test_what_one_would_copy_is_short(example):
    assert len(inspect.getsource(example.train).splitlines()) <= 40
