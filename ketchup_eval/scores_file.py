"""`scores.json`: what evaluations left in a run's folder about its outputs, by split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ketchup.errors import RunError
from ketchup.files import read_kept_json, run_lock, write_kept_json
from ketchup_eval.predictions import FOLDER

SCORES = "scores.json"
SCHEMA = 1
REMEDY = "delete it and run `ketchup evaluate` again"


def write_split(run: Path, split: str, about: Mapping[str, Any]) -> Path:
    """Puts what is known of a split into a run's `scores.json`, which keeps its other splits."""
    path = run / SCORES
    with run_lock(run / FOLDER, wait=True):  # another evaluation may be about to add another split
        write_kept_json(path, {"schema": SCHEMA, "splits": {**read_scores(path), split: about}})
    return path


def read_scores(path: Path) -> dict[str, Any]:
    """What `scores.json` holds of each split; nothing where there is no such file."""
    if not path.exists():
        return {}
    splits = read_kept_json(path, REMEDY).get("splits")
    if not (isinstance(splits, dict) and all(map(_is_split, splits.values()))):
        raise RunError(f"{path} is damaged, as it lacks scores of its splits; {REMEDY}.")
    return splits


def recorded(predictions: Path, split: str) -> Mapping[str, Any] | None:
    """What is known of a file of a run's outputs; `None` where they were not evaluated or belong to no run."""
    if predictions.parent.name != FOLDER:
        return None
    found: Mapping[str, Any] | None = read_scores(predictions.parents[1] / SCORES).get(split)
    return found


def _is_split(about: object) -> bool:
    """Whether it has what others read of a split in `scores.json`."""
    if not (isinstance(about, dict) and type(about.get("n")) is int and "references_fingerprint" in about):
        return False
    scores = about.get("scores")
    return isinstance(scores, dict) and all(
        isinstance(score, dict) and isinstance(score.get("signature"), str) and _is_number_or_none(score.get("value"))
        for score in scores.values()
    )


def _is_number_or_none(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
