"""Scores of a system's outputs, each with interval, n and signature."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ketchup_eval.evaluation.outputs import Outputs
from ketchup_eval.metrics.base import Metric, Nature, Scale, references_of
from ketchup_eval.stats.bootstrap import Array, Bootstrap, Estimate
from ketchup_eval.stats.corpus import percentile_estimate, resampled_sums
from ketchup_eval.stats.intervals import means
from ketchup_eval.stats.proportions import wilson

UNKNOWN_TEACHER = "return|teacher:unknown"


@dataclass(frozen=True)
class Score:
    """One number about a system: its estimate, how its interval was made, and what it means (`signature`)."""

    name: str
    estimate: Estimate
    interval: str
    signature: str


@dataclass(frozen=True)
class Series:
    """One quantity per input, NaN where an input lacks it: what describes outputs beside the task's metrics."""

    scale: Scale
    values: Array
    signature: str


def scores(
    outputs: Outputs,
    metrics: Sequence[Metric],
    statistics: Mapping[str, Array],
    series: Sequence[Series],
    seed: int,
    resamples: int,
) -> list[Score]:
    """The metrics' scores, then the means of the series. All bootstraps draw the same inputs."""
    n = len(outputs)
    bootstrap = Bootstrap(n, seed, resamples)
    references = references_of(outputs.items)
    found = []
    for metric in metrics:
        values = statistics[metric.name]
        for scale in metric.scales:
            if scale.nature == "corpus":
                score = float(scale.of_sums(values.sum(axis=0), n))
                estimate = percentile_estimate(score, scale.of_sums(resampled_sums(bootstrap, values), n), n)
            else:
                estimate = _of_inputs(scale, scale.of_segments(values))
            found.append(Score(scale.name, estimate, _interval(scale.nature, resamples), metric.sign(references)))
    for one in series:
        estimate = _of_inputs(one.scale, one.values)
        found.append(Score(one.scale.name, estimate, _interval(one.scale.nature, resamples), one.signature))
    return found


def _of_inputs(scale: Scale, values: Array) -> Estimate:
    """The mean of `values[n]`, NaN where an input has none; of a share, how many of them are not 0, in percent."""
    if scale.nature == "share":
        known = values[~np.isnan(values)]
        return wilson(int(np.count_nonzero(known)), len(known)).scaled(100)
    (estimate,) = means(values[:, None])
    return estimate


def describing_series(outputs: Outputs, return_signature: str = UNKNOWN_TEACHER) -> list[Series]:
    """Return, length, and shares empty and truncated; a quantity that no output has is left out."""
    rows = outputs.predictions
    columns: list[tuple[Scale, list[float | None], str]] = [
        (_scale("return", "mean"), [row.mean_return for row in rows], return_signature),
        (_scale("length", "mean"), [row.tokens for row in rows], "tokens, the last one that ends the output included"),
        (_scale("empty", "share"), [not row.text.strip() for row in rows], "outputs of white space only"),
        (_scale("truncated", "share"), [None if row.ended is None else not row.ended for row in rows], "not ended"),
    ]
    return [
        Series(scale, np.array([np.nan if value is None else value for value in values], dtype=np.float64), signature)
        for scale, values, signature in columns
        if any(value is not None for value in values)
    ]


def scores_json(found: Sequence[Score], about: Mapping[str, Any]) -> dict[str, Any]:
    """The content of one split in `scores.json`."""
    return {**about, "scores": {score.name: {**asdict(score.estimate), **_words(score)} for score in found}}


def _words(score: Score) -> dict[str, str]:
    return {"interval": score.interval, "signature": score.signature}


def _scale(name: str, nature: Nature) -> Scale:
    return Scale(name, nature, lambda sums, n: sums[..., 0] / n)


def _interval(nature: Nature, resamples: int) -> str:
    if nature == "corpus":
        return f"percentile bootstrap over inputs, {resamples} resamples"
    return "Wilson" if nature == "share" else "Hall"
