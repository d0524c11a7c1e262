"""What further K cost: a whole demo study with K = 1 2 4 8 16 against one with K = 4, and the estimates alone.

Studies alternate, each in a new folder with the same seed, so that both sample and score the same rollouts. At most
1.05 is wanted for the whole study. Then the estimates of 1,000 and 10,000 inputs x 32 rollouts of at most 64 actions,
from parts on disk: at most 20 s are wanted for the latter, and no more memory than for the former.

    python tests/benchmarks/estimates.py [--quick]
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from ketchup.estimators import Numbers
from ketchup.models.scoring import StudentValues, TeacherValues
from ketchup.rollouts.fill import blocks_of
from ketchup.rollouts.types import Decoding, Rollouts
from ketchup.runs import Run
from ketchup.tasks.base import Input
from ketchup_eval.variance.estimates import summarise
from ketchup_eval.variance.per_input import PerInput, concatenate
from ketchup_eval.variance.rollout_store import PartStore
from ketchup_eval.variance.study import ROWS_PER_PART, run_variance
from ketchup_eval.variance.variance_settings import AnalysisSettings, RolloutSettings, estimators_of

MANY, ONE = (1, 2, 4, 8, 16), (4,)
INPUTS, SAMPLES, LENGTH = 200, 32, 128


def estimates_seconds(ks):
    """Statistics and intervals of random q and v of 200 inputs x 32 samples x 128 actions."""
    torch.manual_seed(0)
    v = torch.randn(INPUTS, SAMPLES, LENGTH)
    q = v - torch.rand_like(v)
    mask = torch.arange(LENGTH) < torch.randint(2, LENGTH, (INPUTS, SAMPLES, 1))
    start = time.monotonic()
    numbers = Numbers(mask.flatten(0, 1), SAMPLES, q=q.flatten(0, 1).double(), v=v.flatten(0, 1).double())
    summarise(PerInput(estimators_of(ks, ["segment"], []), "raw")(numbers), "raw")
    return time.monotonic() - start


def study_seconds(ks, limit):
    rollouts = RolloutSettings(
        task="demo",
        teacher="demo-teacher",
        students=("demo-student-2",),
        data=None,
        split="test",
        samples=SAMPLES,
        decoding=Decoding(160),
        prompt_style=None,
        engine="auto",
        seed=0,
    )
    analysis = AnalysisSettings(estimators_of(ks, ["segment"], []), gauge="raw", limit=limit)
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        run_variance(rollouts, analysis, Run(Path(folder) / "run"), lambda _: None)
        return time.monotonic() - start


def store_of(folder, count, length=64):
    """Parts of random rollouts and values, as a study would have left them."""
    inputs = [Input(f"random-{number}", f"input {number}", "") for number in range(count)]
    store = PartStore(folder, blocks_of(inputs, ROWS_PER_PART // SAMPLES))
    for index, block in enumerate(store.blocks):
        rows = len(block) * SAMPLES
        mask = torch.arange(length) < torch.randint(2, length + 1, (rows, 1))
        v, *others = torch.where(mask, torch.randn(8, rows, length), 0)
        q = torch.where(mask, v - torch.rand(rows, length), 0)
        ids = tuple(one.id for one in block)
        rollouts = Rollouts(ids, mask.long(), mask, mask, torch.ones(rows, dtype=torch.bool))
        store.write(index, rollouts, (TeacherValues(q, v, *others[:2]), StudentValues(*others[2:])))
    return store


def stored_seconds(inputs):
    """Processor seconds from parts on disk to intervals, and the process's largest memory until then, MB."""
    with tempfile.TemporaryDirectory() as folder:
        store = store_of(Path(folder), inputs)
        start = time.process_time()
        per_input = PerInput(estimators_of(MANY, ["segment"], []), "raw")
        wanted = dict.fromkeys(("q", "v", "kl"), "the table")
        summarise(concatenate([per_input(part.numbers) for part in store.read(wanted)]), "raw")
        return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def show(label, times):
    many, one = (median(times[ks]) for ks in (MANY, ONE))
    print(f"{label:14s} {many:10.2f} s {one:8.2f} s {many / one:7.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 repetitions with 8 inputs instead of 5 with 32")
    options = parser.parse_args()
    repeats, limit = (3, 8) if options.quick else (5, 32)
    torch.set_num_threads(1)
    study_seconds(ONE, 2)  # first use of the libraries
    print(f"{'':14s} {'K=1..16':>12s} {'K=4':>10s} {'ratio':>7s}   medians of {repeats}")
    for label, measure in (("estimates", estimates_seconds), ("whole study", lambda ks: study_seconds(ks, limit))):
        times = {MANY: [], ONE: []}
        for repeat in range(repeats):
            for ks in (MANY, ONE)[:: 1 if repeat % 2 else -1]:  # neither is always first
                times[ks].append(measure(ks))
        show(label, times)
    for inputs in (100, 1000) if options.quick else (1000, 10_000):
        seconds, memory = stored_seconds(inputs)
        print(f"estimates of {inputs:,} stored inputs: {seconds:.1f} s of one core, {memory:.0f} MB at most so far")


if __name__ == "__main__":
    main()
