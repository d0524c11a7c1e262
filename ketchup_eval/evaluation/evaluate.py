"""One evaluation: outputs of a run, a model or a file, scored, with everything written into the run's folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ketchup import plugins
from ketchup.choices import SERVED
from ketchup.errors import RunError
from ketchup.files import remove_leftovers, run_lock, write_jsonl
from ketchup.hashes import content_hash
from ketchup.rollouts.names import row_of
from ketchup.runs import Run
from ketchup.tasks import task_named
from ketchup.tasks.base import Input, Task
from ketchup.where import Where
from ketchup_eval.evaluation.evaluation_settings import EvaluationSettings, System
from ketchup_eval.evaluation.outputs import Outputs, outputs_of
from ketchup_eval.evaluation.scores import UNKNOWN_TEACHER, Score, describing_series, scores, scores_json
from ketchup_eval.evaluation.segments import keep_statistics, segment_statistics
from ketchup_eval.inputs import find_inputs
from ketchup_eval.metrics import metrics_for, unread
from ketchup_eval.predictions import Prediction, read_outputs, read_predictions
from ketchup_eval.scores_file import write_split
from ketchup_eval.stats.bootstrap import Array

DEFAULT_TASK = "demo"


@dataclass(frozen=True)
class Evaluation:
    """A system's scores, and per input what they came from."""

    run: Run
    about: Mapping[str, Any]
    scores: list[Score]
    outputs: Outputs
    statistics: Mapping[str, Array]


def evaluate_system(system: System, settings: EvaluationSettings, where: Where | None = None) -> Evaluation | None:
    """Decodes what is missing, then scores; a stopped evaluation goes on with the same call.

    Of several processes that decode together, the main one scores; the others get `None`.
    """
    settings = settings.completed(system.settings)
    task, inputs = _rows(settings)
    metrics_for(task, settings.metrics, settings.bleu_tokenize)  # a wrong name must not wait for the decoding
    from ketchup.processes import Processes  # noqa: PLC0415  (torch, as has the next)
    from ketchup_eval.evaluation.decode import decode  # noqa: PLC0415

    where = where or Where()
    processes = Processes(device=where.device, gpus_each=row_of(settings.engine)[1])
    remove_leftovers(system.run.folder)
    decided = decode(system, settings, task, inputs, processes, where)
    if not processes.main:
        return None
    path = system.run.predictions(settings.split)
    wanted = {one.id for one in inputs}
    predictions = [row for row in read_predictions(path) if row.id in wanted]  # there may be more from a larger --limit
    return _scored(system.run, settings, task, inputs, predictions, decided)


def evaluate_file(path: Path, run: Run, settings: EvaluationSettings) -> Evaluation:
    """Scores outputs of any system, which become the run's predictions; no model is loaded."""
    task, inputs = _rows(settings)
    predictions = read_outputs(path, [one.id for one in inputs])
    decided = {"model": str(path), "task": task.called, **task.recorded}
    remove_leftovers(run.folder)
    evaluation = _scored(run, settings, task, inputs, predictions, decided)
    _keep(run, settings.split, predictions)
    return evaluation


def describe_evaluation(system: System, settings: EvaluationSettings) -> str:
    """What `evaluate_system` would do, without loading a model."""
    settings = settings.completed(system.settings)
    task, inputs = _rows(settings)
    names = ", ".join(metric.name for metric in metrics_for(task, settings.metrics, settings.bleu_tokenize))
    return (
        f"{system.model} on {task.name} ({settings.split}): {len(inputs):,} inputs, greedy, at most "
        f"{settings.max_new_tokens or task.max_new_tokens} tokens; {names}"
        f"{f', return under {settings.teacher}' if settings.teacher else ''}; into {system.run}"
    )


def write_scores(evaluation: Evaluation) -> Path:
    """Writes `scores.json`, keeping the other splits that it holds."""
    about = scores_json(evaluation.scores, evaluation.about)
    return write_split(evaluation.run, evaluation.about["split"], about)


def _rows(settings: EvaluationSettings) -> tuple[Task, list[Input]]:
    task = task_named(settings.task or DEFAULT_TASK)
    return task, find_inputs(task, settings.split, settings.rows, settings.limit)


def _scored(
    run: Run,
    settings: EvaluationSettings,
    task: Task,
    inputs: Sequence[Input],
    predictions: Sequence[Prediction],
    decided: Mapping[str, Any],
) -> Evaluation:
    metrics = metrics_for(task, settings.metrics, settings.bleu_tokenize)
    outputs = outputs_of(predictions, inputs, str(decided["model"]))
    kept = run.segments(settings.split)
    statistics = segment_statistics(metrics, outputs.items, settings.workers, kept)
    keep_statistics(statistics, metrics, outputs.items, kept)
    series = describing_series(outputs, _return_signature(decided))
    about = {
        **decided,
        "split": settings.split,
        "data": str(settings.data) if settings.data else None,
        "references": str(settings.references) if settings.references else None,
        "n": len(outputs),
        "references_fingerprint": content_hash({one.id: one.answer for one in inputs}),
        "metrics": [metric.name for metric in metrics],
        "bleu_tokenize": settings.bleu_tokenize,
        "unread": unread(metrics, outputs.texts, outputs.references),
        "seed": settings.seed,
        "resamples": settings.resamples,
        **plugins.recorded(),
    }
    found = scores(outputs, metrics, statistics, series, settings.seed, settings.resamples)
    return Evaluation(run, about, found, outputs, statistics)


def _return_signature(decided: Mapping[str, Any]) -> str:
    if not decided.get("teacher"):
        return UNKNOWN_TEACHER
    # The fingerprint tells teachers apart, whatever path led to them.
    dtype = decided.get("teacher_dtype") or "float32"
    narrowed = "" if dtype in ("float32", SERVED) else f"|dtype:{dtype}"
    gauge = "logprob" if dtype == SERVED else "raw"
    return f"return|teacher:{decided['teacher_fingerprint']}|gauge:{gauge}|truncation:terminal{narrowed}"


def _keep(run: Run, split: str, predictions: Sequence[Prediction]) -> None:
    """Makes a file's outputs the run's predictions, unless it has others."""
    path = run.predictions(split)
    with run_lock(path.with_suffix("")):
        if path.exists():
            if read_predictions(path) != list(predictions):
                raise RunError(f"{path} holds other outputs; use another --name.")
            return
        write_jsonl(path, [row.as_row() for row in predictions])
