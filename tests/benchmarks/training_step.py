"""One optimiser step of `ketchup` at the paper's batch shape (8 inputs x 32 micro-batches) against a plain one.

The plain step does for each micro-batch what a script would: transformers' `generate`, full logits of teacher and
student, Algorithm 1 in Python, backward. Ours samples all micro-batches at once and applies the heads in chunks. Both
start from the demo's teacher and student, without the calculator, on the same inputs, one thread count for both.

    python tests/benchmarks/training_step.py [--threads 1] [--repeats 3] [--accumulation 32]
"""

import argparse
import os
import time
from dataclasses import replace
from statistics import median

import torch
from torch.optim import AdamW

from ketchup.methods import method
from ketchup.models.language_model import pad
from ketchup.models.loading import load
from ketchup.models.prompts import default_style, prompt_ids
from ketchup.phases import Phases
from ketchup.processes import Processes
from ketchup.tasks import task_named
from ketchup.tasks.rows import load_inputs
from ketchup.training.experience import Inputs, Student
from ketchup.training.loop import _optimiser_step
from ketchup.training.train_settings import TrainSettings
from ketchup.training.weights import StudentWeights
from tests.benchmarks.straightforward import Plain, algorithm_1

K = 4
BATCH = 8


class PlainStep(Plain):
    """Micro-batch after micro-batch."""

    def step(self, optimizer):
        """One update; the number of tokens sampled."""
        tokens = 0
        for start in range(0, len(self.prompts), BATCH):
            tokens += self._micro_batch(self.prompts[start : start + BATCH])
        torch.nn.utils.clip_grad_norm_(self.student.network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return tokens

    def _micro_batch(self, prompts):
        student, teacher = self.student, self.teacher
        ids, mask = pad(prompts, student.pad_id)
        with torch.no_grad():
            output = student.network.generate(
                input_ids=ids,
                attention_mask=mask.long(),
                do_sample=True,
                top_k=0,
                max_new_tokens=self.limit,
                pad_token_id=student.pad_id,
                eos_token_id=student.eos_id,
            )
        actions = output[:, 1:]
        ended = (actions == student.eos_id).cumsum(1)
        kept = (ended == 0) | ((ended == 1) & (actions == student.eos_id))
        read = {"input_ids": ids, "attention_mask": mask.long(), "decoder_input_ids": output[:, :-1]}
        with torch.no_grad():
            logits = teacher.network(**read).logits[..., : teacher.vocabulary]
        q, v = logits.gather(-1, actions[..., None])[..., 0], logits.amax(-1)
        weights = torch.zeros_like(q)
        for row, length in enumerate(kept.sum(1).tolist()):
            found = algorithm_1(q[row, :length].tolist(), v[row, :length].tolist(), K)
            weights[row, :length] = torch.tensor(found).clamp(-100, 100)
        log_pi = student.network(**read).logits[..., : student.vocabulary].log_softmax(-1)
        loss = -(weights * log_pi.gather(-1, actions[..., None])[..., 0] * kept).sum()
        loss.backward()
        return int(kept.sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--accumulation", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    teacher = load("demo-teacher")
    task = replace(task_named("demo"), calculator=False)
    inputs = load_inputs(task, "train", None, BATCH * options.accumulation)
    prompts = [prompt_ids(teacher, task, one, default_style(teacher)) for one in inputs]

    phases, processes = Phases(), Processes("float32")
    student = Student(StudentWeights(load("demo-student-2")), task, "auto", phases)
    settings = TrainSettings(method="ketchup", task="demo", student="", accumulation=options.accumulation)
    ours_optimizer = AdamW(student.model.network.parameters(), lr=1e-6)
    inputs = Inputs([str(i) for i in range(len(prompts))], prompts, {})
    chosen = method("ketchup", {"k": K})
    plain = PlainStep(teacher, load("demo-student-2"), prompts, 1, task.max_new_tokens)
    plain_optimizer = AdamW(plain.student.network.parameters(), lr=1e-6)

    def ours(step):
        entry = _optimiser_step(settings, chosen, student, teacher, ours_optimizer, inputs, step, processes)
        return entry["length"] * len(prompts)

    ours(0)
    results = {"ours": [], "plain": []}
    shares = []
    for repeat in range(options.repeats):
        phases.lap()
        for name, work in (
            ("ours", lambda step=repeat: ours(step + 1)),
            ("plain", lambda: plain.step(plain_optimizer)),
        ):
            start = time.monotonic()
            tokens = work()
            results[name].append((time.monotonic() - start, tokens))
            if name == "ours":
                shares.append(phases.lap())
    base = median(seconds for seconds, _ in results["ours"])
    print(f"{len(prompts)} rollouts of at most {task.max_new_tokens} tokens, medians of {options.repeats}")
    for name, runs in results.items():
        seconds, tokens = median(seconds for seconds, _ in runs), median(tokens for _, tokens in runs)
        print(f"{name:6s} {seconds:8.2f} s {tokens:8,.0f} tokens sampled {seconds / base:7.2f} x")
    total = sum(sum(lap.values()) for lap in shares)
    for phase in shares[0]:
        print(f"{phase:10s} {sum(lap[phase] for lap in shares) / total:6.1%} of ours")


if __name__ == "__main__":
    main()
