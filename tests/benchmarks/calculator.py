"""Rollouts with the calculator: token by token, and drawn whole by CTranslate2 and mended, on the demo's models.

Processor time of one thread, medians; the two alternate. With a share below 1 the calculator writes only after that
share of texts (chosen by their hash), as if it disagreed more rarely: it shows where one way overtakes the other.

    python tests/benchmarks/calculator.py [--repeats N] [--model NAME ...]
"""

import argparse
import time
import zlib
from random import Random
from statistics import median

import torch

from ketchup.models.loading import load
from ketchup.models.prompts import default_style, prompt_ids
from ketchup.rollouts import sampling, stepwise
from ketchup.rollouts.calculator import Calculator, Written
from ketchup.rollouts.engines import engine
from ketchup.rollouts.types import Decoding
from ketchup.tasks import task_named
from ketchup.tasks.rows import load_inputs

INPUTS, SAMPLES = 8, 32
SHARES = (1.0, 0.3, 0.1, 0.03, 0.0)


class Rarely(Calculator):
    """Writes after some texts only."""

    def __init__(self, model, share):
        super().__init__(model)
        self.share = share

    def due(self, tokens):
        seldom = zlib.crc32(str(list(tokens[-12:])).encode()) / 2**32 >= self.share
        return [] if seldom else super().due(tokens)


def compared(name, repeats):
    """Prints a line for each share."""
    task = task_named("demo")
    inputs = load_inputs(task, "test", None, INPUTS)
    model = load(name)
    prompts = [prompt_ids(model, task, one, default_style(model)) for one in inputs]
    runner, decoding = engine("ctranslate2", model), Decoding(task.max_new_tokens)

    def mended(machine, seed):
        return sampling._mended(runner, machine, prompts, SAMPLES, decoding, Random(seed))

    def by_steps(machine, seed):
        return stepwise.write(model, prompts, SAMPLES, decoding, seed, machine)

    for share in SHARES:
        machine = Rarely(model, share)
        speeds = {mended: [], by_steps: []}
        for repeat in range(repeats + 1):
            for way, found in speeds.items():
                start = time.process_time()
                tokens = sum(len(row.tokens) for row in way(machine, repeat))
                found.append(tokens / (time.process_time() - start))
        drawn = runner.sample(prompts, None, SAMPLES, decoding, 0).rows
        cut = sum(
            sampling._cut(machine, Written.drawn(row, [0.0] * len(row)), decoding.max_new_tokens) for row in drawn
        )
        one, other = (median(found[1:]) for found in speeds.values())  # the first is a warm-up
        print(f"{name:16s} {share:6.2f} {cut / len(drawn):5.0%} {one:13,.0f} {other:15,.0f} {other / one:6.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", nargs="+", default=["demo-student-3", "demo-student-1", "demo-teacher"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'model':16s} {'share':>6s} {'cut':>5s} {'mended tok/s':>13s} {'by steps tok/s':>15s} {'ratio':>6s}")
    for name in options.model:
        compared(name, options.repeats)


if __name__ == "__main__":
    main()
