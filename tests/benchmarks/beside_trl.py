"""On-policy distillation of a decoder-only model beside TRL's GKD trainer: the same models, prompts and step.

Both draw from the student, compare with the teacher by the generalised Jensen-Shannon divergence (β = 0.5, λ = 1) and
update all weights with AdamW in float32. What is compared is the time of an optimiser step per token generated, the
first step left out. TRL is not a dependency: `pip install trl` beside this project, or put it on PYTHONPATH.

    python tests/benchmarks/beside_trl.py --student DIR --data DIR [--steps 3] [--threads 1]
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch.optim import AdamW

from ketchup.methods import method
from ketchup.models.loading import load
from ketchup.models.prompts import prompt_ids
from ketchup.phases import Phases
from ketchup.processes import Processes
from ketchup.tasks import task_named
from ketchup.tasks.rows import load_inputs
from ketchup.training.experience import Inputs, Student
from ketchup.training.loop import _optimiser_step
from ketchup.training.train_settings import TrainSettings
from ketchup.training.weights import StudentWeights

BATCH = 8
LEARNING_RATE = 1e-6


def ours(teacher, student, prompts, task, steps):
    """Seconds and tokens of each step."""
    settings = TrainSettings(method="gkd", task="gsm8k", student="", batch_size=BATCH)
    phases = Phases()
    worker = Student(StudentWeights(student), task, "auto", phases)
    optimizer = AdamW(student.network.parameters(), lr=LEARNING_RATE)
    found = []
    for step in range(steps):
        inputs = Inputs([str(i) for i in range(BATCH)], prompts[step * BATCH : (step + 1) * BATCH], {})
        start = time.monotonic()
        entry = _optimiser_step(
            settings, method("gkd", {}), worker, teacher, optimizer, inputs, step, Processes("float32")
        )
        found.append((time.monotonic() - start, entry["length"] * BATCH))
        print("  ours", {name: round(value, 1) for name, value in phases.lap().items()})
    return found


def trls(teacher, student, questions, limit, steps):
    """The same of TRL's trainer: from one training step to the next, tokens counted up to eos."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    tokens, times = [], []
    generate = GKDTrainer.generate_on_policy_outputs

    def counting(model, inputs, generation_config):
        result = generate(model, inputs, generation_config)
        written = result[0][:, inputs["prompts"].shape[1] :]
        ended = (written == student.eos_id).cumsum(1)
        tokens.append(int(((ended == 0) | ((ended == 1) & (written == student.eos_id))).sum()))
        return result

    GKDTrainer.generate_on_policy_outputs = staticmethod(counting)

    class Clock(TrainerCallback):
        def on_step_begin(self, *arguments, **named):
            times.append([time.monotonic()])

        def on_step_end(self, *arguments, **named):
            times[-1].append(time.monotonic())

    rows = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "x"}]} for text in questions
    ]
    with tempfile.TemporaryDirectory() as folder:
        config = GKDConfig(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            max_steps=steps,
            lmbda=1.0,
            beta=0.5,
            temperature=1.0,
            max_new_tokens=limit,
            learning_rate=LEARNING_RATE,
            max_length=512,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
        )
        trainer = GKDTrainer(
            model=student.network,
            teacher_model=teacher.network,
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=student.tokenizer,
            callbacks=[Clock()],
        )
        trainer.train()
    return [(end - start, count) for (start, end), count in zip(times, tokens, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="smollm2-135m")
    parser.add_argument("--student", required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of GSM8K rows")
    parser.add_argument("--steps", type=int, default=3, help="timed steps, after one that is not")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    steps = options.steps + 1
    task = replace(task_named("gsm8k"), calculator=False, max_new_tokens=options.max_new_tokens)
    inputs = load_inputs(task, "train", options.data, BATCH * steps)
    teacher = load(options.teacher)
    prompts = [prompt_ids(teacher, task, one, "chat") for one in inputs]
    questions = [task.prompts.chat.format(source=one.source) for one in inputs]
    results = {
        "ours": ours(teacher, load(options.student), prompts, task, steps),
        "trl": trls(teacher, load(options.student), questions, options.max_new_tokens, steps),
    }
    for name, runs in results.items():
        each = [seconds / tokens for seconds, tokens in runs[1:]]
        total = sum(tokens for _, tokens in runs[1:])
        print(
            f"{name:5s} {1000 * median(each):8.1f} ms per generated token (median of {len(each)} steps, {total} tokens)"
        )
    ratio = median(s / n for s, n in results["trl"][1:]) / median(s / n for s, n in results["ours"][1:])
    print(f"TRL takes {ratio:.2f} times as long per token")


if __name__ == "__main__":
    main()
