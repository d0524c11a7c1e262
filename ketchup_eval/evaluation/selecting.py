"""What training may select its best checkpoint by: its own return or loss, or a score of the task's metrics."""

from collections.abc import Sequence
from difflib import get_close_matches

from ketchup.errors import UsageError
from ketchup.tasks.base import Input, Task
from ketchup.tasks.metric import TaskMetric
from ketchup.training.metrics import OWN_SELECTIONS
from ketchup_eval.metrics import METRICS
from ketchup_eval.metrics.base import Item, Metric, Scale, check_sources, references_of


def metric_to_select_by(task: Task, name: str) -> TaskMetric:
    """The score of this name, of a metric that fits the task; `rouge-l` is `rougeL`, as - and case do not count.

    Raises `UsageError` for a name of nothing, with the nearest that there is.
    """
    known = {scale.name: (metric, scale) for metric in METRICS.values() for scale in metric.scales}
    fitting = {name: found for name, found in known.items() if task.kind in found[0].kinds}
    found = next((known[one] for one in known if _plain(one) == _plain(name)), None)
    choices = ", ".join((*OWN_SELECTIONS, *fitting))
    if found is None:
        plain = {_plain(one): one for one in (*OWN_SELECTIONS, *fitting)}
        close = get_close_matches(_plain(name), plain, n=1)
        hint = f'did you mean "{plain[close[0]]}"' if close else "choose one"
        raise UsageError(f'--select knows no "{name}": {hint} of {choices}.')
    metric, scale = found
    if scale.name not in fitting:
        raise UsageError(f"--select {scale.name} does not fit {task.name} ({task.kind}); choose one of {choices}.")
    return _task_metric(metric, scale)


def _task_metric(metric: Metric, scale: Scale) -> TaskMetric:
    def score(inputs: Sequence[Input], texts: Sequence[str]) -> float:
        items = _items(inputs, texts)
        check_sources(metric, items)
        return float(scale.of_sums(metric.count(items).sum(axis=0), len(items)))

    def signature(inputs: Sequence[Input]) -> str:
        return metric.sign(references_of(_items(inputs, [""] * len(inputs))))

    return TaskMetric(scale.name, scale.higher_is_better, score, signature)


def _items(inputs: Sequence[Input], texts: Sequence[str]) -> list[Item]:
    return [Item(one.source, text, one.references) for one, text in zip(inputs, texts, strict=True)]


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()
