"""examples/kstep_in_trl.py inside the real TRL; in the environment of a TRL, which is not ours."""

import copy
import inspect
from pathlib import Path

import pytest
import torch

pytest.importorskip("trl")
pytestmark = pytest.mark.filterwarnings("ignore")  # of TRL about its experiments

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import kstep_in_trl

    return kstep_in_trl


def test_the_student_learns(example, tmp_path):
    """As the file itself does it; the returns are those that TRL logs, rounded as it rounds them."""
    history = [float(value) for value in example.main(str(tmp_path))]
    assert len(history) == 40
    assert sum(history[-5:]) > sum(history[:5]) + 5 * 10


def test_what_trl_steps_on_is_the_policy_gradient_of_k_step_returns(example, tmp_path):
    """Two micro-batches, which TRL shuffles, of prompts of different length, some of whose outputs end early."""
    from transformers import TrainerCallback
    from trl import GRPOConfig

    from tests.examples.plain import expected_weights, policy_gradient

    teacher, student, tokenizer = example.tiny_pair()
    with torch.no_grad():
        student.lm_head.weight[tokenizer.eos_token_id] *= 3
    before, seen = copy.deepcopy(student), {}

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, *args, model, **rest):
            seen["gradient"] = {name: weight.grad.clone() for name, weight in model.named_parameters()}

    class Recorded(example.KStepTrainer):
        def _generate_and_score_completions(self, inputs):
            seen["batch"] = super()._generate_and_score_completions(inputs)
            return dict(seen["batch"])

    settings = GRPOConfig(
        output_dir=str(tmp_path),
        loss_type="dapo",
        beta=0.0,
        num_generations=4,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        max_completion_length=8,
        max_grad_norm=0,
        max_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
    )
    rows = example.Dataset.from_list([{"prompt": "a"}, {"prompt": "bad"}])
    Recorded(
        student,
        teacher=teacher,
        processing_class=tokenizer,
        args=settings,
        train_dataset=rows,
        callbacks=[Watch()],
    ).train()
    batch = seen["batch"]

    def kept(ids, mask):
        return [row[there.bool()].tolist() for row, there in zip(ids, mask, strict=True)]

    prompts = kept(batch["prompt_ids"], batch["prompt_mask"])
    outputs = kept(batch["completion_ids"], batch["completion_mask"])
    assert len(set(map(len, prompts))) == 2
    assert min(map(len, outputs)) < max(map(len, outputs))
    weights = expected_weights(teacher, prompts, outputs, k=4)
    for found, there, expected in zip(batch["advantages"], batch["completion_mask"], weights, strict=True):
        assert found[there.bool()].tolist() == pytest.approx(expected, abs=1e-3)
    for name, expected in policy_gradient(before, prompts, outputs, weights).items():
        torch.testing.assert_close(seen["gradient"][name], expected, atol=1e-4, rtol=1e-3)


def test_what_one_would_copy_is_short(example):
    assert len(inspect.getsource(example.KStepTrainer).splitlines()) <= 40
