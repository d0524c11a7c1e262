"""K-step credit in TRL: GRPOTrainer samples and steps as ever, on returns of a teacher in place of its advantages.

pip install trl; python examples/kstep_in_trl.py
"""

import sys

import torch
from datasets import Dataset
from tiny_pair import PROMPTS, tiny_pair
from trl import GRPOConfig, GRPOTrainer

import ketchup


class KStepTrainer(GRPOTrainer):
    """GRPOTrainer whose advantages, one a token, are K-step returns of the `teacher` less the other samples' mean."""

    def __init__(self, model, *, teacher, estimator="k-step:4", baseline="leave-one-out", **rest):
        super().__init__(model, reward_funcs=no_reward, **rest)
        self.teacher = self.accelerator.prepare_model(teacher, evaluation_mode=True).eval()
        self.estimator, self.baseline = estimator, baseline

    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        ids, mask = batch["completion_ids"], batch["completion_mask"]
        read = torch.cat([batch["prompt_ids"], ids], dim=1)
        attention = torch.cat([batch["prompt_mask"], mask], dim=1)
        with torch.no_grad():
            logits = self.teacher(read, attention_mask=attention).logits[:, -ids.shape[1] - 1 : -1]
        samples = self.num_generations if self.model.training else self.num_generations_eval
        prompts = torch.arange(len(ids)) // samples
        actions = mask * batch["tool_mask"] if "tool_mask" in batch else mask  # a tool's words are no actions
        w = ketchup.credit(logits, ids, actions, estimator=self.estimator, baseline=self.baseline, groups=prompts)
        self._metrics["train" if self.model.training else "eval"]["return"].append(w.returns[:, 0].mean().item())
        batch["advantages"] = w.weights
        return batch


def no_reward(completions, **_):
    """GRPOTrainer wants a reward of whole outputs; this one is not used."""
    return [0.0] * len(completions)


def main(folder: str) -> list[float]:
    """Trains the tiny student; the mean K-step return of each step's outputs."""
    teacher, student, tokenizer = tiny_pair()
    # The policy gradient of the teacher's return alone: every token counts once, no divergence to the first student.
    settings = GRPOConfig(
        output_dir=folder,
        loss_type="dapo",
        beta=0.0,
        num_generations=8,
        per_device_train_batch_size=64,
        max_completion_length=12,
        learning_rate=3e-3,
        lr_scheduler_type="constant",
        max_steps=40,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
    )
    rows = Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS])
    trainer = KStepTrainer(student, teacher=teacher, processing_class=tokenizer, args=settings, train_dataset=rows)
    trainer.train()
    return [row["return"] for row in trainer.state.log_history if "return" in row]


if __name__ == "__main__":
    history = main(sys.argv[1] if len(sys.argv) > 1 else "kstep-in-trl")
    print(f"Mean K-step return of an output, in nats: {history[0]:.1f} at first, {history[-1]:.1f} at last")
