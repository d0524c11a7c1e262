"""COMET (Rei et al., 2020) by unbabel-comet: mean over items of a learnt judgement of output and reference, x 100.

`comet` is the model of WMT 2022, `comet:MODEL` another one: a hub id, or a folder with `hparams.yaml` and
`checkpoints/model.ckpt`. The package wants older libraries than this toolkit, so it runs in an environment of its own,
whose Python the variable `KETCHUP_COMET` names. Of several references the best counts. One process of that Python
answers all questions of this one.
"""

import atexit
import json
import os
import subprocess
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

from ketchup.errors import UsageError
from ketchup.hashes import file_hash
from ketchup_eval.metrics.base import Item, Metric, Scale, mean_of, nrefs
from ketchup_eval.stats.bootstrap import Array

MODEL = "Unbabel/wmt22-comet-da"
PYTHON = "KETCHUP_COMET"
ANSWERS = Path(__file__).with_name("comet_answers.py")


def metric(model: str = MODEL) -> Metric:
    """The metric with one model."""
    return Metric(
        name="comet",
        kinds=frozenset({"translation"}),
        statistics=partial(statistics, model=model),
        scales=(Scale("comet", "mean", mean_of(0, 100)),),
        signature=partial(signature, model=model),
        reads_source=True,
    )


def statistics(items: Sequence[Item], *, model: str) -> Array:
    """The score of each item, [n, 1]."""
    rows = [
        {"src": item.source, "mt": item.prediction, "ref": reference} for item in items for reference in item.references
    ]
    scores = iter(_answers(model).scores(rows))
    return np.array([[max(next(scores) for _ in item.references)] for item in items]).reshape(-1, 1)


def signature(references: str, *, model: str) -> str:
    """Model, package and its version; a folder is told by its weights."""
    checkpoint = Path(model) / "checkpoints" / "model.ckpt"
    known = f"{Path(model).name}-{file_hash(checkpoint)[:16]}" if checkpoint.is_file() else model
    return "|".join((nrefs(references, "best"), f"model:{known}", f"version:{_answers(model).version}"))


class Answers:
    """A process of COMET's own Python: a line of rows in, a line of scores out."""

    def __init__(self, python: str, model: str) -> None:
        self._python = python
        try:
            self._process = subprocess.Popen(
                [python, str(ANSWERS), model],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            raise UsageError(f"{PYTHON}={python} is no Python that starts; name one with unbabel-comet.") from error
        atexit.register(self._process.kill)
        self.version = str(self._answer()["version"])

    def scores(self, rows: Sequence[dict[str, str]]) -> list[float]:
        """The score of each row of `src`, `mt` and `ref`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(rows) + "\n")
        self._process.stdin.flush()
        scores = self._answer()["scores"]
        assert isinstance(scores, list)
        return scores

    def _answer(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, object] = json.loads(line) if line else {"error": "it ended; what it said is above"}
        if "error" in answer:
            raise UsageError(f"COMET by {self._python}: {answer['error']}.")
        return answer


@cache
def _answers(model: str) -> Answers:
    python = os.environ.get(PYTHON)
    if not python:
        raise UsageError(
            f"comet runs in a Python of its own: make one with pip install unbabel-comet, and name it in {PYTHON}."
        )
    return Answers(python, model)


METRIC = metric()
