"""How much faster a study is with two commands at once: the demo plan from nothing, with --jobs 1 and with --jobs 2.

python tests/benchmarks/study_jobs.py                         on a machine with nothing else to do; some 15 minutes
python tests/benchmarks/study_jobs.py --only '*-s0' --until train
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLAN = Path(__file__).parents[2] / "plans" / "demo.toml"


def seconds(jobs, more):
    """The wall time of the whole command; its results are thrown away."""
    with tempfile.TemporaryDirectory() as runs:
        words = [sys.executable, "-m", "ketchup_eval.cli", "study", str(PLAN), "--jobs", str(jobs), "--runs-dir", runs]
        began = time.monotonic()
        subprocess.run([*words, *more], check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    chosen, more = parser.parse_known_args()
    found = {jobs: seconds(jobs, more) for jobs in chosen.jobs}
    first = found[chosen.jobs[0]]
    for jobs, took in found.items():
        print(f"--jobs {jobs}: {took:7.1f} s, {first / took:.2f} times as fast as --jobs {chosen.jobs[0]}")


if __name__ == "__main__":
    main()
