"""Where the time of a study went: shares of its phases, and what starting the program costs.

python tests/benchmarks/phases.py runs/variance-demo/variance.json
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

WORK = ("sampling", "scoring")
STARTS = {
    "python": "pass",
    "ketchup --help": "import sys; sys.argv = ['ketchup', '--help']; from ketchup_eval.cli import main; main()",
    "imports of variance": "import ketchup_eval.variance.study, ketchup_eval.report.variance_figure",
}


def start_seconds(script, repeats=3):
    times = []
    for _ in range(repeats):
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, check=True)
        times.append(time.monotonic() - start)
    return median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path, help="a variance.json of a study that was not resumed")
    seconds = json.loads(parser.parse_args().result.read_text())["seconds"]
    total = sum(seconds.values())
    for name, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"{name:22s} {spent:9.2f} s {spent / total:7.1%}")
    rest = total - sum(seconds.get(name, 0) for name in WORK)
    print(f"{'all but the work':22s} {rest:9.2f} s {rest / total:7.1%}   (work: {' and '.join(WORK)})")
    print("start-up, medians of 3, not in the above:")
    for name, script in STARTS.items():
        print(f"{name:22s} {start_seconds(script):9.2f} s")


if __name__ == "__main__":
    main()
