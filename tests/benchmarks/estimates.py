"""What further K cost: a whole demo study with K = 1 2 4 8 16 against one with K = 4, and the estimates alone.

Studies alternate, each in a new folder with the same seed, so that both sample and score the same rollouts. At most
1.05 is wanted for the whole study.

    python tests/benchmarks/estimates.py [--quick]
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from ketchup.estimators import Numbers
from ketchup.rollouts.types import Decoding
from ketchup_eval.variance.estimates import summarise
from ketchup_eval.variance.per_input import PerInput
from ketchup_eval.variance.settings import AnalysisSettings, RolloutSettings, estimators_of
from ketchup_eval.variance.study import run_variance

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
        run_variance(rollouts, analysis, Path(folder) / "run", lambda _: None)
        return time.monotonic() - start


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


if __name__ == "__main__":
    main()
