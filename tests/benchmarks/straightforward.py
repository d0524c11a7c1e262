"""A variance study's rollouts and returns against a plain implementation, on the same inputs, with no calculator.

The plain one is what a script would do: for every K sample with transformers' `generate`, read full logits of the
teacher over the rollouts, and walk Algorithm 1 backwards in Python. Its shared figure samples and scores once
for all K. Ours samples and scores once with this project's engine, then takes all K in one call; it also scores the
student, which the plain one does not. One thread count for all.

    python tests/benchmarks/straightforward.py --pair demo [--quick]
    python tests/benchmarks/straightforward.py --pair smollm2 --student DIR [--inputs 4]
"""

import argparse
import os
import time
from statistics import median

import torch

from ketchup.maths.returns import k_step_returns_all
from ketchup.models.language_model import pad
from ketchup.models.loading import check_same_vocabulary, load
from ketchup.models.prompts import default_style, prompt_ids
from ketchup.models.scoring import score
from ketchup.rollouts.engines import engine
from ketchup.rollouts.sampling import sample
from ketchup.rollouts.types import Decoding
from ketchup.tasks import task_named
from ketchup.tasks.rows import load_inputs

KS = (1, 2, 4, 8, 16)


def algorithm_1(q, v, k):
    """Ĝ_t of one rollout, from its last action to its first: K steps at once while K actions remain."""
    length = len(q)
    returns = [0.0] * length
    for t in reversed(range(length)):
        step = k if t + k < length else 1
        after = t + step
        returns[t] = q[t] + (returns[after] - v[after] if after < length else 0.0)
    return returns


class Plain:
    """transformers and a loop, one input at a time."""

    def __init__(self, teacher, student, prompts, samples, limit):
        self.teacher, self.student, self.prompts, self.samples, self.limit = teacher, student, prompts, samples, limit

    @torch.inference_mode()
    def rollouts(self, prompt):
        """Sampled tokens of one input, up to and with eos."""
        ids = torch.tensor([prompt])
        output = self.student.network.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            num_return_sequences=self.samples,
            max_new_tokens=self.limit,
            pad_token_id=self.student.pad_id,
            eos_token_id=self.student.eos_id,
        )
        skip = 1 if self.student.encoder_decoder else len(prompt)
        rows = [row.tolist() for row in output[:, skip:]]
        eos = self.student.eos_id
        return [row[: row.index(eos) + 1] if eos in row else row for row in rows]

    @torch.inference_mode()
    def values(self, prompt, rows):
        """q and v of each rollout, from the teacher's full logits."""
        actions, mask = pad(rows, self.teacher.pad_id)
        prompts = torch.tensor([prompt]).expand(len(rows), -1)
        if self.teacher.encoder_decoder:
            start = torch.full_like(actions[:, :1], self.teacher.start_id)
            written = torch.cat([start, actions[:, :-1]], dim=1)
            logits = self.teacher.network(input_ids=prompts, decoder_input_ids=written).logits
        else:
            read = torch.cat([prompts, actions], dim=1)
            logits = self.teacher.network(input_ids=read).logits[:, len(prompt) - 1 : -1]
        logits = logits[..., : self.teacher.vocabulary]
        q, v = logits.gather(-1, actions[:, :, None])[:, :, 0], logits.amax(-1)
        lengths = mask.sum(1).tolist()
        return [(a[:n].tolist(), b[:n].tolist()) for a, b, n in zip(q, v, lengths, strict=True)]

    def run(self, ks):
        """Returns for each of `ks` from one set of rollouts."""
        tokens = 0
        for prompt in self.prompts:
            rows = self.rollouts(prompt)
            tokens += sum(map(len, rows))
            for q, v in self.values(prompt, rows):
                for k in ks:
                    algorithm_1(q, v, k)
        return tokens

    def every_k(self):
        return sum(self.run([k]) for k in KS) / len(KS)

    def shared(self):
        return self.run(KS)


def ours(teacher, student, prompts, samples, limit):
    """As `variance` does it, the hand-over of the weights to the engine included; tokens sampled."""
    ids = [str(index) for index in range(len(prompts))]
    runner = engine("auto", student)
    rollouts = sample(runner, student, ids, prompts, samples, Decoding(limit), 0, calculator=False)
    teacher_values, _ = score(teacher, student, prompts, rollouts.tokens, rollouts.action_mask)
    k_step_returns_all(teacher_values.q, teacher_values.v, rollouts.action_mask, KS, "one-step")
    return int(rollouts.action_mask.sum())


def timed(work):
    start = time.monotonic()
    tokens = work()
    return time.monotonic() - start, tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", choices=["demo", "smollm2"], required=True)
    parser.add_argument("--student", help="folder of smollm2's student")
    parser.add_argument("--inputs", type=int, help="default: 16 for the demo, 2 for smollm2")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--max-new-tokens", type=int, help="default: the task's for the demo, 64 for smollm2")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--quick", action="store_true", help="one repetition instead of three")
    options = parser.parse_args()
    if options.pair == "smollm2" and not options.student:
        parser.error("--pair smollm2 needs --student DIR")
    torch.set_num_threads(options.threads)
    demo = options.pair == "demo"
    teacher = load("demo-teacher" if demo else "smollm2-135m")
    student = load("demo-student-2" if demo else options.student)
    check_same_vocabulary(teacher, student)
    task = task_named("demo")
    limit = options.max_new_tokens or (task.max_new_tokens if demo else 64)
    inputs = load_inputs(task, "test", None, options.inputs or (16 if demo else 2))
    prompts = [prompt_ids(student, task, one, default_style(student)) for one in inputs]
    plain = Plain(teacher, student, prompts, options.samples, limit)
    variants = {
        "ours": lambda: ours(teacher, student, prompts, options.samples, limit),
        "plain, shared rollouts": plain.shared,
        "plain, every K anew": plain.every_k,
    }
    ours(teacher, student, prompts[:1], 2, 4)  # first use of the libraries
    results = {name: [] for name in variants}
    repeats = 1 if options.quick else 3
    for _ in range(repeats):
        for name, work in variants.items():
            results[name].append(timed(work))
    print(f"{len(prompts)} inputs x {options.samples} samples, at most {limit} tokens, K {KS}, medians of {repeats}")
    base = median(seconds for seconds, _ in results["ours"])
    for name, runs in results.items():
        seconds, tokens = median(seconds for seconds, _ in runs), median(tokens for _, tokens in runs)
        print(f"{name:24s} {seconds:8.2f} s {tokens:10,.0f} tokens sampled per set {seconds / base:7.2f} x")


if __name__ == "__main__":
    main()
