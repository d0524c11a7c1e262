"""K-step credit in a training loop of one's own: plain PyTorch, with models of transformers.

python examples/kstep_in_a_loop.py
"""

import torch
from tiny_pair import PROMPTS, tiny_pair
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import ketchup

POLICY = {
    "do_sample": True,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "repetition_penalty": 1.0,
    "max_new_tokens": 12,
}
"""Draws from the student as it is, whatever its generation_config.json prefers: the gradient is that of this policy."""


def train(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    steps: int = 40,
    samples: int = 8,
) -> list[float]:
    """Policy-gradient distillation with K = 4 and a leave-one-out baseline; each step's mean K-step return."""
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    history = []
    for _ in range(steps):
        asked = tokenizer([prompt for prompt in prompts for _ in range(samples)], padding=True, return_tensors="pt")
        with torch.no_grad():
            written = student.generate(asked.input_ids, attention_mask=asked.attention_mask, **POLICY)
        ids = written[:, asked.input_ids.shape[1] :]
        ends = ids == tokenizer.eos_token_id
        mask = ends.cumsum(1) - ends.long() == 0  # actions: all tokens up to the first end, that one included
        attention = torch.cat([asked.attention_mask, mask.long()], dim=1)
        with torch.no_grad():
            teacher_logits = teacher(written, attention_mask=attention).logits[:, -ids.shape[1] - 1 : -1]
        inputs = torch.arange(len(prompts)).repeat_interleave(samples)
        w = ketchup.credit(teacher_logits, ids, mask, estimator="k-step:4", baseline="leave-one-out", groups=inputs)
        logits = student(written, attention_mask=attention).logits[:, -ids.shape[1] - 1 : -1]
        log_probs = logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
        loss = -(w.weights * log_probs).sum() / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(w.returns[:, 0].mean().item())
    return history


if __name__ == "__main__":
    teacher, student, tokenizer = tiny_pair()
    history = train(student, teacher, tokenizer, PROMPTS)
    print(f"Mean K-step return of an output, in nats: {history[0]:.1f} at first, {history[-1]:.1f} at last")
