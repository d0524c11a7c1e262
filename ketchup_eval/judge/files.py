"""A judge's results as `judge.json`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ketchup.files import atomic_write_json
from ketchup.manifests import manifest
from ketchup_eval.judge.results import JudgeResult

SCHEMA = 1
RESULT = "judge.json"


def judge_json(result: JudgeResult) -> dict[str, Any]:
    """The result as the content of `judge.json`; numbers are `{"value", "low", "high", "n"}`, absent ones null."""
    settings = result.plan.settings
    return {
        "schema": SCHEMA,
        "a": list(settings.a),
        "b": settings.b,
        "task": settings.task,
        "split": settings.split,
        "judge": asdict(settings.sampling),
        "server_models": result.server_models,
        "limit": settings.limit,
        "unshared_ids": result.plan.unshared,
        "complete": result.complete,
        "missing_share": result.missing_share,
        "interval": {
            "level": 0.95,
            "method": "Hall's over items, within Wilson's; percentile bootstrap for alpha, kappa and length",
            "resamples": settings.resamples,
        },
        "comparisons": [asdict(row) for row in result.comparisons],
        "differences": [asdict(row) for row in result.differences],
        "repeat_flips": asdict(result.repeat_flips),
        "refusals": [asdict(row) for row in result.refusals],
        "run": manifest(asdict(settings)),
    }


def write_result(result: JudgeResult, run: Path) -> None:
    """Writes `judge.json` into the run's folder, with what is needed to repeat it."""
    atomic_write_json(run / RESULT, judge_json(result))
