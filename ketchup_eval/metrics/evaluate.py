"""One evaluation: outputs of a run, a model or a file, scored, with everything written into the run's folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ketchup.errors import RunError
from ketchup.files import read_kept_json, run_lock, write_jsonl, write_kept_json
from ketchup.hashes import content_hash
from ketchup.tasks import task as task_named
from ketchup.tasks.base import Example, Task
from ketchup.tasks.rows import load_examples
from ketchup_eval.metrics import metrics_for
from ketchup_eval.metrics.outputs import Outputs, outputs_of, read_outputs_file, read_references
from ketchup_eval.metrics.scores import SCHEMA, UNKNOWN_TEACHER, Score, as_json, describing_series, scores
from ketchup_eval.metrics.segments import FOLDER as SEGMENTS
from ketchup_eval.metrics.segments import keep_statistics, segment_statistics
from ketchup_eval.metrics.settings import EvaluationSettings, System
from ketchup_eval.predictions import FOLDER, Prediction, read_predictions
from ketchup_eval.stats.bootstrap import Array

SCORES = "scores.json"
DEFAULT_TASK = "demo"
REMEDY = "delete it and run `ketchup evaluate` again"


@dataclass(frozen=True)
class Evaluation:
    """A system's scores, and per item what they came from."""

    run: Path
    about: Mapping[str, Any]
    scores: list[Score]
    outputs: Outputs
    statistics: Mapping[str, Array]


def evaluate_system(system: System, settings: EvaluationSettings) -> Evaluation | None:
    """Decodes what is missing, then scores; a stopped evaluation goes on with the same call.

    Of several processes that decode together, the main one scores; the others get `None`.
    """
    settings = settings.completed(system.settings)
    task, examples = _rows(settings)
    metrics_for(task, settings.metrics)  # a wrong name must not wait for the decoding
    from ketchup.processes import Processes  # noqa: PLC0415  (torch)
    from ketchup_eval.metrics.decode import decode  # noqa: PLC0415

    processes = Processes()
    decided = decode(system, settings, task, examples, processes)
    if not processes.main:
        return None
    path = system.run / FOLDER / f"{settings.split}.jsonl"
    wanted = {example.id for example in examples}
    predictions = [row for row in read_predictions(path) if row.id in wanted]  # there may be more from a larger --limit
    return _scored(system.run, settings, task, _references(examples), predictions, decided)


def evaluate_file(path: Path, references: Path | None, run: Path, settings: EvaluationSettings) -> Evaluation:
    """Scores outputs of any system, which become the run's predictions; no model is loaded."""
    predictions = read_outputs_file(path)
    if references:
        task = task_named(settings.task or DEFAULT_TASK)
        expected = read_references(references, path, len(predictions))
    else:
        if path.suffix != ".jsonl":
            raise RunError(f"{path} holds plain lines without ids; give --references FILE, or JSON lines as .jsonl.")
        task, examples = _rows(settings)
        expected = _references(examples)
    outputs_of(predictions, expected, str(path))
    evaluation = _scored(run, settings, task, expected, predictions, {"model": str(path), "task": task.name})
    _keep(run, settings.split, predictions)
    return evaluation


def describe(system: System, settings: EvaluationSettings) -> str:
    """What `evaluate_system` would do, without loading a model."""
    settings = settings.completed(system.settings)
    task, examples = _rows(settings)
    names = ", ".join(metric.name for metric in metrics_for(task, settings.metrics))
    return (
        f"{system.model} on {task.name} ({settings.split}): {len(examples):,} inputs, greedy, at most "
        f"{settings.max_new_tokens or task.max_new_tokens} tokens; {names}"
        f"{f', return under {settings.teacher}' if settings.teacher else ''}; into {system.run}"
    )


def write_scores(evaluation: Evaluation) -> Path:
    """Writes `scores.json`, keeping the other splits that it holds."""
    path = evaluation.run / SCORES
    splits = read_scores(path)
    splits[evaluation.about["split"]] = as_json(evaluation.scores, evaluation.about)
    write_kept_json(path, {"schema": SCHEMA, "splits": splits})
    return path


def read_scores(path: Path) -> dict[str, Any]:
    """What `scores.json` holds of each split; nothing where there is no such file."""
    if not path.exists():
        return {}
    splits = read_kept_json(path, REMEDY).get("splits")
    if not (isinstance(splits, dict) and all(map(_is_split, splits.values()))):
        raise RunError(f"{path} is damaged, as it lacks scores of its splits; {REMEDY}.")
    return splits


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


def _rows(settings: EvaluationSettings) -> tuple[Task, list[Example]]:
    task = task_named(settings.task or DEFAULT_TASK)
    return task, load_examples(task, settings.split, settings.data, settings.limit)


def _references(examples: Sequence[Example]) -> dict[str, str]:
    return {example.id: example.reference for example in examples}


def _scored(
    run: Path,
    settings: EvaluationSettings,
    task: Task,
    references: Mapping[str, str],
    predictions: Sequence[Prediction],
    decided: Mapping[str, Any],
) -> Evaluation:
    metrics = metrics_for(task, settings.metrics)
    outputs = outputs_of(predictions, references, str(decided["model"]))
    kept = run / SEGMENTS / settings.split
    statistics = segment_statistics(metrics, outputs.texts, outputs.references, settings.workers, kept)
    keep_statistics(statistics, metrics, outputs.texts, outputs.references, kept)
    series = describing_series(outputs, _return_signature(decided))
    about = {
        **decided,
        "split": settings.split,
        "data": str(settings.data) if settings.data else None,
        "n": len(outputs),
        "references_fingerprint": content_hash(dict(references)),
        "metrics": [metric.name for metric in metrics],
        "seed": settings.seed,
        "resamples": settings.resamples,
    }
    found = scores(outputs, metrics, statistics, series, settings.seed, settings.resamples)
    return Evaluation(run, about, found, outputs, statistics)


def _return_signature(decided: Mapping[str, Any]) -> str:
    if not decided.get("teacher"):
        return UNKNOWN_TEACHER
    # The fingerprint tells teachers apart, whatever path led to them.
    return f"return|teacher:{decided['teacher_fingerprint']}|gauge:raw|truncation:terminal"


def _keep(run: Path, split: str, predictions: Sequence[Prediction]) -> None:
    """Makes a file's outputs the run's predictions, unless it has others."""
    path = run / FOLDER / f"{split}.jsonl"
    with run_lock(path.with_suffix("")):
        if path.exists():
            if read_predictions(path) != list(predictions):
                raise RunError(f"{path} holds other outputs; use another --name.")
            return
        write_jsonl(path, [row.as_row() for row in predictions])
