"""Whole commands on a GPU that is made up: nothing meets what is on another device, and results are the CPU's."""

import json

import pyarrow.parquet as pq
import pytest

from tests import tiny
from tests.commands import PROGRAM, ketchup, write_data

ON_GPU = "tests.pretend_gpu.app"
TRAINED = "--steps 2 --save-every 1 --eval-every 1 --batch-size 4"
WIDE = tiny.WIDE
CASES = [
    ("t5", "variance --samples 4 --k 1 2 --gradient --tail both --estimator reverse-kl:0 --baseline min-variance"),
    (WIDE, "variance --samples 4 --k 1 2 --gradient"),
    ("t5", f"train ketchup --k 2 --baseline mean {TRAINED}"),
    (WIDE, f"train reinforce --estimator reverse-kl:0 --baseline leave-one-out --samples-per-input 2 {TRAINED}"),
    ("t5", f"train llmr --baseline min-variance --correct-sampler {TRAINED}"),
    ("t5", f"train kl --select loss {TRAINED}"),
    (WIDE, f"train js {TRAINED}"),
    (WIDE, f"train seqkd {TRAINED}"),
    (WIDE, f"train ketchup --k 2 --lora 2 {TRAINED}"),
    ("t5", "evaluate {student}"),
]
UNLIKE = ("second", "crc32", "memory", "created", "time", "sampler")
"""Results may differ in what such keys have; the gap between sampler and scorer is rounding here."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    data = write_data(folder / "data", train=8, validation=2, test=9) / "test.jsonl"
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    data.write_text("".join(json.dumps({**row, "answer": "#### 12"}) + "\n" for row in rows))
    for kind in ("t5", WIDE):
        for seed, name in enumerate(("teacher", "student")):
            (folder / kind).mkdir(exist_ok=True)
            tiny.save(kind, folder / kind / name, seed=seed)
    return folder


def results(folder, inputs, kind, command, program):
    """Each number and text that the command leaves, by its place."""
    folder.mkdir()
    words = command.format(student=inputs / kind / "student").split()
    words += [] if words[0] == "evaluate" else ["--student", inputs / kind / "student"]
    words += ["--teacher", inputs / kind / "teacher", "--task", "gsm8k", "--data", inputs / "data"]
    words += ["--engine", "transformers", "--threads", 1, "--max-new-tokens", 6, "--name", "run", "--runs-dir", folder]
    done = ketchup(folder, *words, program=program)
    assert done.code == 0, done.stderr
    run = folder / "run"
    tables = [pq.read_table(path).to_pylist() for path in sorted(run.rglob("part-*.parquet"))]
    lines = [line for path in sorted(folder.rglob("*.jsonl")) for line in path.read_text().splitlines()]
    study = [json.loads(path.read_text()) for path in run.glob("variance.json")]
    found = dict(leaves([tables, [json.loads(line) for line in lines], study]))
    assert found
    return found


def leaves(found, *place):
    if isinstance(found, dict):
        for key, value in found.items():
            if not any(word in key for word in UNLIKE):
                yield from leaves(value, *place, key)
    elif isinstance(found, list):
        for index, value in enumerate(found):
            yield from leaves(value, *place, index)
    else:
        yield place, found


@pytest.mark.parametrize(("kind", "command"), CASES)
def test_it_ends_as_on_the_cpu(tmp_path, inputs, kind, command):
    here = results(tmp_path / "cpu", inputs, kind, command, PROGRAM)
    there = results(tmp_path / "gpu", inputs, kind, command, ON_GPU)
    assert there.keys() == here.keys()
    unlike = {place: (there[place], value) for place, value in here.items() if not alike(there[place], value)}
    assert not unlike


def alike(found, value):
    if isinstance(value, float) and isinstance(found, float):
        return found == pytest.approx(value, rel=1e-3, abs=1e-5, nan_ok=True)
    return found == value
