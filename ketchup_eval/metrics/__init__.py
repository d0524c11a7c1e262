"""The metrics of tasks, one file each; a new one is a file with a `METRIC` and a row of `METRICS`."""

import logging
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import chain

from ketchup.choices import BleuTokenizer
from ketchup.errors import UsageError
from ketchup.table import Table
from ketchup.tasks.base import Task
from ketchup_eval.metrics import bertscore, bleu, chrf, comet, rouge, ter
from ketchup_eval.metrics.accuracy import accuracy
from ketchup_eval.metrics.base import Metric

_log = logging.getLogger(__name__)


class MetricTable(Table[Metric]):
    """The metrics, of whose scores no two are called alike: files and tables have them by name."""

    def check(self, name: str, row: Metric) -> None:
        """Raises `UsageError` for a score that another metric has, too."""
        super().check(name, row)
        taken = {scale.name: other for other, known in self.items() for scale in known.scales}
        for scale in row.scales:
            if scale.name in taken:
                raise UsageError(f"the metric {taken[scale.name]!r} has a score {scale.name!r} already; rename it")


METRICS: Table[Metric] = MetricTable(
    Metric,
    {
        "rouge": rouge.METRIC,
        "rouge-unicode": rouge.UNICODE,
        "bleu": bleu.METRIC,
        "chrf": chrf.METRIC,
        "ter": ter.METRIC,
        "bertscore": bertscore.METRIC,
        "comet": comet.METRIC,
        "accuracy": accuracy("dpo-st"),
        "accuracy-openai": accuracy("openai"),
        "accuracy-flexible": accuracy("flexible"),
    },
)

BY_MODEL = {"bertscore": bertscore.metric, "comet": comet.metric}
"""Metrics that a language model computes; `NAME:MODEL` has another model than their own choice."""


def metrics_for(task: Task, names: Sequence[str] | None, bleu_tokenizer: BleuTokenizer | None = None) -> list[Metric]:
    """The named metrics, else the task's, else those of its kind; a `UsageError` for one unknown or unfit.

    BLEU comes with the tokenizer, if one is named.
    """
    metrics = _metrics_named(task, names)
    if bleu_tokenizer is None:
        return metrics
    if not any(metric.name == "bleu" for metric in metrics):
        found = ", ".join(metric.name for metric in metrics)
        raise UsageError(f"--bleu-tokenize goes with the metric bleu, and the metrics are {found}; leave it out.")
    return with_bleu_tokenizer(metrics, bleu_tokenizer)


def with_bleu_tokenizer(metrics: Sequence[Metric], tokenizer: BleuTokenizer) -> list[Metric]:
    """The same metrics, BLEU among them with this tokenizer."""
    return [bleu.metric(tokenizer) if metric.name == "bleu" else metric for metric in metrics]


def unread(metrics: Sequence[Metric], *texts: Sequence[str]) -> list[str]:
    """A sentence for each metric that does not read a visible share of the texts; each is logged as a warning too."""
    together = list(chain(*texts))
    found = [sentence for metric in metrics if (sentence := metric.unread(together))]
    for sentence in found:
        _log.warning("%s", sentence)
    return found


def _metrics_named(task: Task, names: Sequence[str] | None) -> list[Metric]:
    where = "" if names or not task.path else f"{task.path}: metrics: "
    names = names or task.metrics
    if not names:
        return [metric for metric in METRICS.values() if task.kind in metric.default_for]
    metrics = []
    for text in dict.fromkeys(names):
        name, _, model = text.partition(":")
        if name not in METRICS:
            close = get_close_matches(name, METRICS, n=1)
            hint = f'did you mean "{close[0]}"' if close else "choose one"
            raise UsageError(f'{where}There is no metric "{name}": {hint} of {", ".join(METRICS)}.')
        if model and name not in BY_MODEL:
            raise UsageError(f'{where}The metric "{name}" has no model to choose; write {name} in place of {text}.')
        if task.kind not in METRICS[name].kinds:
            fitting = ", ".join(metric.name for metric in METRICS.values() if task.kind in metric.kinds)
            raise UsageError(
                f'{where}The metric "{name}" does not fit {task.name} ({task.kind}); choose one of {fitting}.'
            )
        metrics.append(BY_MODEL[name](model) if model else METRICS[name])
    return metrics
