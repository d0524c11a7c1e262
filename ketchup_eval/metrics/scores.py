"""Scores of a system's outputs, each with interval, n and signature."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ketchup_eval.metrics.base import Metric, Nature, Scale
from ketchup_eval.metrics.outputs import Outputs
from ketchup_eval.stats.bootstrap import Array, Bootstrap, Estimate
from ketchup_eval.stats.corpus import percentile_estimate, resampled_sums
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
    """One quantity per item, NaN where an item lacks it: what describes outputs beside the task's metrics."""

    scale: Scale
    items: Array
    signature: str


def scores(
    outputs: Outputs,
    metrics: Sequence[Metric],
    statistics: Mapping[str, Array],
    series: Sequence[Series],
    seed: int,
    resamples: int,
) -> list[Score]:
    """The metrics' scores, then the means of the series. All bootstraps draw the same items."""
    n = len(outputs)
    bootstrap = Bootstrap(n, seed, resamples)
    found = []
    for metric in metrics:
        values = statistics[metric.name]
        sums = resampled_sums(bootstrap, values)
        for scale in metric.scales:
            score = float(scale.rule(values.sum(axis=0), n))
            estimate = (
                _share(scale, values, n)
                if scale.nature == "share"
                else percentile_estimate(score, scale.rule(sums, n), n)
            )
            found.append(Score(scale.name, estimate, _interval(scale.nature, resamples), metric.signature()))
    for one in series:
        if one.scale.nature == "share":
            known = one.items[~np.isnan(one.items)]
            estimate = percent(wilson(int(known.sum()), len(known)))
        else:
            (estimate,) = bootstrap.means(one.items[:, None])
        found.append(Score(one.scale.name, estimate, _interval(one.scale.nature, resamples), one.signature))
    return found


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


def as_json(found: Sequence[Score], about: Mapping[str, Any]) -> dict[str, Any]:
    """The content of one split in `scores.json`."""
    return {**about, "scores": {score.name: {**asdict(score.estimate), **_words(score)} for score in found}}


def _words(score: Score) -> dict[str, str]:
    return {"interval": score.interval, "signature": score.signature}


def _share(scale: Scale, values: Array, n: int) -> Estimate:
    """Wilson's interval of a share whose rule is 100 x the mean of a column of zeros and ones."""
    return percent(wilson(round(float(scale.rule(values.sum(axis=0), n)) * n / 100), n))


def percent(estimate: Estimate) -> Estimate:
    """A share in percent."""
    parts = (estimate.value, estimate.low, estimate.high)
    value, low, high = (None if part is None else 100 * part for part in parts)
    return Estimate(value, low, high, estimate.n)


def _scale(name: str, nature: Nature) -> Scale:
    return Scale(name, nature, lambda sums, n: sums[..., 0] / n)


def _interval(nature: Nature, resamples: int) -> str:
    return "Wilson" if nature == "share" else f"percentile bootstrap over items, {resamples} resamples"
