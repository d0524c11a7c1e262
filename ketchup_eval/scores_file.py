"""`scores.json`: what evaluations left in a run's folder about its outputs, by split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ketchup.errors import RunError
from ketchup.files import read_kept_json, run_lock, write_kept_json
from ketchup.kinds import NUMBER, Kinds, misfit
from ketchup.manifests import OF_SETTINGS
from ketchup.runs import Run

SCHEMA = 1
OF_A_SPLIT: Kinds = {**OF_SETTINGS, "n": int, "references_fingerprint": str, "scores": dict}
OF_A_SCORE: Kinds = {"value": NUMBER, "signature": str}
REMEDY = "delete it and run `ketchup evaluate` again"


def write_split(run: Run, split: str, about: Mapping[str, Any]) -> Path:
    """Puts what is known of a split into a run's `scores.json`, which keeps its other splits."""
    path = run.scores
    with run_lock(run.predictions(split).parent, wait=True):  # another evaluation may be about to add another split
        write_kept_json(path, {"schema": SCHEMA, "splits": {**read_scores(path), split: about}})
    return path


def read_scores(path: Path) -> dict[str, Any]:
    """What `scores.json` holds of each split; nothing where there is no such file."""
    if not path.exists():
        return {}
    content = read_kept_json(path, REMEDY)
    wrong = misfit(content, {"splits": dict})
    for about in content["splits"].values() if wrong is None else ():
        wrong = wrong or misfit(about, OF_A_SPLIT)
        for score in about["scores"].values() if wrong is None else ():
            wrong = wrong or misfit(score, OF_A_SCORE)
    if wrong is not None:
        raise RunError(f"{path} is damaged, as {wrong}; {REMEDY}.")
    splits: dict[str, Any] = content["splits"]
    return splits


def recorded(predictions: Path, split: str) -> Mapping[str, Any] | None:
    """What is known of a file of a run's outputs; `None` where they were not evaluated or belong to no run."""
    run = Run.of_predictions(predictions)
    found: Mapping[str, Any] | None = read_scores(run.scores).get(split) if run else None
    return found
