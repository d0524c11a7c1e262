"""Two processes of one thread against one process of one thread, and of two: throughput of `ketchup variance`.

Each way is a whole command in a folder of its own, in alternation. Counted is what shares out: sampling, scoring,
handing weights over and waiting for the other process; beside it the whole command, start and estimates included.
Ratios are of medians from one run; the machine should have nothing else to do.

    python tests/benchmarks/processes.py [--pair demo|smollm2] [--rounds 3] [--quick]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

SHARED_OUT = ("hand-over", "sampling", "scoring", "waiting")
WAYS = {"1 process of 1 thread": (1, 1), "2 processes of 1 thread": (2, 1), "1 process of 2 threads": (1, 2)}
PAIRS = {
    "demo": ["--teacher", "demo-teacher", "--student", "demo-student-3", "--limit", "192"],
    "smollm2": ["--teacher", "smollm2-135m", "--student", "smollm2-135m", "--limit", "32", "--max-new-tokens", "16"],
}
"""Eight inputs are a block, of which there is an even number. SmolLM2 is its own student: that costs the same."""
QUICK = {"demo": "32", "smollm2": "16"}


def measured(pair, quick, processes, threads):
    """Seconds of what shares out, and of the whole command."""
    words = [*PAIRS[pair], "--k", "1", "4", "--processes", str(processes), "--threads", str(threads), "--json"]
    if quick:
        words[words.index("--limit") + 1] = QUICK[pair]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        command = [sys.executable, "-m", "ketchup_eval.cli", "variance", *words, "--runs-dir", folder, "--name", "run"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        whole = time.monotonic() - begun
        seconds = json.loads((Path(folder) / "run/variance.json").read_text())["seconds"]
    return sum(seconds.get(phase, 0.0) for phase in SHARED_OUT), whole


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", choices=PAIRS, default="demo")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="fewer inputs, one round")
    options = parser.parse_args()
    times = {way: [] for way in WAYS}
    for _ in range(1 if options.quick else options.rounds):
        for way, (processes, threads) in WAYS.items():
            times[way].append(measured(options.pair, options.quick, processes, threads))
    work = {way: median(shared for shared, _ in found) for way, found in times.items()}
    whole = {way: median(all_of_it for _, all_of_it in found) for way, found in times.items()}
    base, *_ = WAYS
    for way in WAYS:
        ratio, of_whole = work[base] / work[way], whole[base] / whole[way]
        print(f"{way:24s} {work[way]:8.1f} s {ratio:6.2f} x    whole command {whole[way]:8.1f} s {of_whole:6.2f} x")
    best = min(work, key=work.__getitem__)
    print(f"fastest: {best}")


if __name__ == "__main__":
    main()
