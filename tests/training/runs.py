"""Training runs by command: how they are started, and what they leave."""

import os
from dataclasses import dataclass
from pathlib import Path

from ketchup.files import read_jsonl
from tests.commands import ketchup

STEPS = 12


def train_arguments(inputs, method="sft", *more):
    given = ["--student", inputs / "student", "--task", "gsm8k", "--data", inputs / "data", "--steps", STEPS]
    given += ["--batch-size", 4, "--accumulation", 2, "--lr", 0.02, "--schedule", "linear", "--warmup-steps", 3]
    given += ["--weight-decay", 0.01, "--eval-every", 2, "--save-every", 4, "--milestones", 3, 7, "--threads", 1]
    if method != "sft":
        given += ["--teacher", inputs / "teacher", "--max-new-tokens", 8]
    if method == "seqkd":
        given += ["--teacher-temperature", 1]
    if method == "ketchup":
        given += ["--k", 2, "--baseline", "mean"]
    return ["train", method, *given, *more]


@dataclass
class Run:
    """What a run left, but for times."""

    folder: Path

    @property
    def metrics(self):
        rows, _ = read_jsonl(self.folder / "metrics.jsonl")
        return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]

    @property
    def weights(self):
        files = sorted(self.folder.glob("checkpoints/*/model.safetensors"))
        return {file.parent.name: file.read_bytes() for file in files}

    @property
    def links(self):
        return {name: os.readlink(self.folder / name) for name in ("last", "best")}

    @property
    def files(self):
        """Their names: nothing is left of what a killed process was writing."""
        return sorted(str(file.relative_to(self.folder)) for file in self.folder.rglob("*"))

    @property
    def whole(self):
        """No file that was being written is left where a reader would look."""
        return all((folder / "config.json").exists() for folder in self.folder.glob("checkpoints/step-*"))


def assert_same(run, unbroken):
    assert run.metrics == unbroken.metrics
    assert run.weights == unbroken.weights
    assert run.links == unbroken.links
    assert run.whole


def unbroken_run(tmp_path_factory, inputs, method, *more):
    folder = tmp_path_factory.mktemp("unbroken")
    done = ketchup(folder, *train_arguments(inputs, method, *more))
    assert done.code == 0, done.stderr
    return Run(folder / "runs" / f"{method}-gsm8k")
