"""The metrics of tasks, one file each; a new one is a file with a `METRIC` and a row of `METRICS`."""

from collections.abc import Sequence
from difflib import get_close_matches

from ketchup.errors import UsageError
from ketchup.tasks.base import Task
from ketchup_eval.metrics import bleu, chrf, rouge, ter
from ketchup_eval.metrics.accuracy import accuracy
from ketchup_eval.metrics.base import Metric

METRICS: dict[str, Metric] = {
    "rouge": rouge.METRIC,
    "bleu": bleu.METRIC,
    "chrf": chrf.METRIC,
    "ter": ter.METRIC,
    "accuracy": accuracy("dpo-st"),
    "accuracy-openai": accuracy("openai"),
    "accuracy-flexible": accuracy("flexible"),
}


def metrics_for(task: Task, names: Sequence[str] | None) -> list[Metric]:
    """The named metrics, or those of the task's published numbers; a `UsageError` for one unknown or unfit."""
    if not names:
        return [metric for metric in METRICS.values() if task.kind in metric.default_for]
    metrics = []
    for name in dict.fromkeys(names):
        if name not in METRICS:
            close = get_close_matches(name, METRICS, n=1)
            hint = f'did you mean "{close[0]}"' if close else "choose one"
            raise UsageError(f'There is no metric "{name}": {hint} of {", ".join(METRICS)}.')
        if task.kind not in METRICS[name].kinds:
            fitting = ", ".join(metric.name for metric in METRICS.values() if task.kind in metric.kinds)
            raise UsageError(f'The metric "{name}" does not fit {task.name} ({task.kind}); choose one of {fitting}.')
        metrics.append(METRICS[name])
    return metrics
