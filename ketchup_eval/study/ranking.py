"""The order of methods that `variance --gradient` foretells, frozen before any of them trains.

A method steps along a row of the gradient's table. The better the gradient of a batch of its row points, which is the
expected cosine of 256 rollouts to the true gradient, the further it should come in as many steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ketchup.errors import RunError
from ketchup.files import read_kept_json, write_kept_json
from ketchup.hashes import file_hash
from ketchup.runs import Run

FOLDER = "rankings"
BATCH = "256"
REMEDY = "put a copy of it back, or give the plan another name"
OBJECTIVE = "expected-return"
"""What rows must aim at to be ranked: the cosine of the others is to another direction."""

Arms = Mapping[str, tuple[str, Mapping[str, Any]]]
"""Methods of a plan by name: what `ketchup train` calls each, and its options."""


@dataclass(frozen=True)
class Ranking:
    """What a ranking is made from, a `variance.json`, and of which methods; none of the runs `later` may be there."""

    variance: Path
    arms: Arms
    later: tuple[Path, ...]


def freeze(ranking: Ranking, labels: Mapping[str, Any], place: Path) -> None:
    """Writes the ranking to `place`, from the method whose gradient points best to the one whose points worst.

    What is there is never written again. Raises `RunError` where a method has trained already, and where no gradient
    was measured. Methods that follow no gradient of the return, as KL, have no place in the ranking.
    """
    if place.exists():
        return
    begun = next((run for run in ranking.later if Run(run).has_manifest()), None)
    if begun is not None:
        raise RunError(f"{begun} has begun to train, so nothing can be foretold of it; give the plan another name.")
    (student,) = read_kept_json(ranking.variance, REMEDY)["students"]
    known = cosines(student.get("gradient"))
    if not known:
        raise RunError(f"{ranking.variance} has no gradients to rank methods by; measure them with `gradient = true`.")
    found: list[dict[str, Any]] = []
    for method, (algorithm, options) in ranking.arms.items():
        row = row_of(algorithm, options)
        if row is not None and row in known:
            found.append({"method": method, "estimator": row[0], "baseline": row[1], "cosine": known[row]})
    content = {
        "schema": 1,
        "task": labels["task"],
        "student": labels["student"],
        "frozen": datetime.now(UTC).isoformat(timespec="seconds"),
        "variance": str(ranking.variance.parent.name),
        "variance_sha256": file_hash(ranking.variance),
        "batch": int(BATCH),
        "ranking": sorted(found, key=lambda one: -float(one["cosine"]["value"])),
    }
    write_kept_json(place, content)


def read_rankings(folder: Path) -> list[dict[str, Any]]:
    """All rankings that were frozen in the folder of a study."""
    return [read_kept_json(path, REMEDY) for path in sorted((folder / FOLDER).glob("*.json"))]


def cosines(gradient: Mapping[str, Any] | None) -> dict[tuple[str, str], dict[str, Any]]:
    """By estimator and baseline, the expected cosine of a batch to the gradient of the return, with its interval."""
    found = {}
    for row in (gradient or {}).get("rows", ()):
        cosine = row["batch_cosine"].get(BATCH, {})
        if cosine.get("value") is not None and row["objective"] == OBJECTIVE:
            found[row["estimator"].split("|baseline:")[0], row["baseline"]] = cosine
    return found


def row_of(algorithm: str, options: Mapping[str, Any]) -> tuple[str, str] | None:
    """The row of the gradient's table that a method of training steps along; `None` for one that follows none."""
    baseline, gauge = options.get("baseline", "none"), options.get("gauge", "raw")
    if algorithm == "llmr":
        return f"llmr|gauge:{gauge}", baseline
    if algorithm == "ketchup":
        return f"k-step:{options['k']}|tail:{options.get('tail', 'one-step')}|gauge:{gauge}", baseline
    if algorithm == "reinforce":
        return f"{options['estimator']}|gauge:{gauge}", baseline
    return None
