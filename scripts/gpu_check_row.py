"""One row of the table of `gpu_check.sh`: how far a run agrees with another, and how fast it was.

    python scripts/gpu_check_row.py NAME RUN REFERENCE

Two studies that drew the same rollouts are compared by the largest difference of the teacher's logits; others by the
share of their numbers whose 95% intervals overlap, of which at least nine in ten must. Two training runs are compared
by the largest difference of their weights after the last step; a run by itself only by how near what draws stays to
what is trained, step by step. Leaves with 1 if they do not agree.
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from ketchup.files import read_jsonl

OVERLAPPING = 0.9
SAME_LOGITS = 1e-2
"""Nats; two orders of adding up float32 differ by less, another type or a wrong layer by more."""
SEEN = 1e-4
"""Nats per action between sampler and scorer, above which a row says so."""
FAR = 0.01
"""The same, in a step of training, above which what draws has other weights than what is trained."""
SAME_WEIGHTS = 1e-3
"""Six steps at the default learning rate of 3e-5 move a weight by 2e-4 at most; kernels may add up in any order."""


def intervals(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float, float]]:
    """Every interval of a `variance.json`, with where it is."""
    if isinstance(content, dict) and content.get("low") is not None and content.get("high") is not None:
        yield path, content["low"], content["high"]
    elif isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for name, value in items:
            yield from intervals(value, (*path, str(name)))


def rollouts(run: Path) -> list[dict[str, Any]]:
    """All rows of all students."""
    return [row for file in sorted(run.glob("rollouts/*/part-*.parquet")) for row in pq.read_table(file).to_pylist()]


def of_study(run: Path, reference: Path) -> tuple[bool, list[str]]:
    """Whether two studies agree, and the cells of the table."""
    content, other = (json.loads((folder / "variance.json").read_text()) for folder in (run, reference))
    rows, others = rollouts(run), rollouts(reference)
    if [row["tokens"] for row in rows] == [row["tokens"] for row in others]:
        gap = max(abs(a - b) for x, y in zip(rows, others, strict=True) for a, b in zip(x["q"], y["q"], strict=True))
        agrees, said = gap <= SAME_LOGITS, f"same rollouts, logits within {gap:.1e}"
    else:
        before = {path: ends for path, *ends in intervals(other)}
        both = [(ends, before[path]) for path, *ends in intervals(content) if path in before and "sampler" not in path]
        share = sum(a[0] <= b[1] and b[0] <= a[1] for a, b in both) / max(1, len(both))
        agrees, said = share >= OVERLAPPING, f"{share:.0%} of {len(both)} intervals overlap"
    gaps = [student["sampler"]["mean_absolute"]["value"] for student in content["students"] if student.get("sampler")]
    if gaps and max(gaps) > SEEN:
        said += f", drawn {max(gaps):.1e} nats per action from what is scored"
    tokens = sum(len(row["q"]) for row in rows)
    speeds = [f"{tokens / content['seconds'][phase]:,.0f} tokens/s" for phase in ("sampling", "scoring")]
    return agrees, [said, *speeds]


def of_training(run: Path, reference: Path) -> tuple[bool, list[str]]:
    """The same for two training runs, or for one by itself."""
    steps = [row for row in read_jsonl(run / "metrics.jsonl")[0] if "loss" in row]
    settings = json.loads((run / "manifest.json").read_text())["settings"]
    rows = settings["batch_size"] * settings["accumulation"] * settings["processes"]
    tokens = sum(row["length"] for row in steps) * rows
    spent = {phase: sum(row["seconds"].get(phase, 0.0) for row in steps) for phase in ("sample", "teacher", "student")}
    speeds = [tokens / spent["sample"], tokens / (spent["teacher"] + spent["student"])]
    gaps = [row["sampler_gap"] for row in steps if "sampler_gap" in row]
    near = max(gaps, default=0.0) <= FAR
    cells = [f"{speed:,.0f} tokens/s" for speed in speeds]
    if run == reference:
        return near and bool(gaps), [f"drawn at most {max(gaps, default=math.nan):.1e} nats per action off", *cells]
    weights, others = (load_file(folder / "last/model.safetensors") for folder in (run, reference))
    gap = max(float((weights[name] - others[name]).abs().max()) for name in others)
    same = all(torch.equal(weights[name], others[name]) for name in others)
    return near and gap <= SAME_WEIGHTS, ["bit for bit" if same else f"weights within {gap:.1e}", *cells]


def main(name: str, run: Path, reference: Path) -> int:
    """Prints the row; the exit code."""
    compare = of_study if (run / "variance.json").exists() else of_training
    agrees, cells = compare(run, reference)
    sys.stdout.write("\t".join([name, "ok" if agrees else "FAILED", *cells]) + "\n")
    return not agrees


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
