"""Claims about measures that should agree: judge and metric, and the gradient before training with what it reaches."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ketchup_eval.stats.bootstrap import Estimate
from ketchup_eval.stats.correlation import rank_correlation
from ketchup_eval.study.claims.arms import RETURN, arms, sign, task_scores
from ketchup_eval.study.claims.base import Evidence
from ketchup_eval.study.claims.numbers import estimate, negated, p_value
from ketchup_eval.study.collect import Content, student_names


def judge_agrees(content: Content) -> Iterator[Evidence]:
    """Sign by sign: a win rate above 50% and a better metric than the reference's, or both below."""
    for one in content["judge"]:
        better = {
            (row["task"], row["student"], row["method"], row["score"]): row
            for row in content["comparisons"]
            if row["score"] != RETURN
        }
        methods = {run["run"]: run["method"] for run in content["runs"]}
        for row in one["result"]["comparisons"]:
            method = methods.get(row["a"])
            for (task, student, name, score), compared in better.items():
                if (task, student, name) == (one["task"], one["student"], method):
                    rate = estimate(row["effects"]["vote_share"]).scaled(100.0, -50.0)
                    gain = _gain(compared)
                    what = f"win rate ({row['criterion']}) and {score}: product of their signs"
                    yield Evidence(
                        f"{task}: {student}, {method}", what, *_product_of_signs(rate, gain), (one["run"], row["a"])
                    )


def _gain(compared: Mapping[str, Any]) -> Estimate:
    found = estimate(compared["difference"])
    return found if compared["higher_is_better"] else negated(found)


def _product_of_signs(one: Estimate, two: Estimate) -> tuple[Estimate, float | None]:
    """±1 as both estimates have it; as sure as the less sure of the two."""
    ps = [p_value(one), p_value(two)]
    if one.value is None or two.value is None or None in ps:
        return Estimate(None, None, None, min(one.n, two.n)), None
    product = math.copysign(1, one.value) * math.copysign(1, two.value)
    return Estimate(product, None, None, min(one.n, two.n)), max(p for p in ps if p is not None)


def measuring_predicts(content: Content) -> Iterator[Evidence]:
    """Ours, not the paper's: does the gradient's expected cosine, measured before, order what training reached?"""
    for one in content["variance"]:
        names = student_names(one)
        for student in one["result"]["students"]:
            name, cosines = names[student["name"]], _cosines(student.get("gradient"))
            for place, methods in arms(content):
                if place != f"{one['task']}: {name}":
                    continue
                for score in ("return", *task_scores(methods)):
                    pairs = [
                        (cosines[key], sign(score) * float(row["scores"][score]["value"]))
                        for row in methods
                        if (key := _row_of(row)) in cosines and row["scores"].get(score, {}).get("value") is not None
                    ]
                    if len(pairs) > 2:
                        found = rank_correlation(pairs)
                        sources = (student["run"], *(run for row in methods for run in row["runs"]))
                        yield Evidence(place, f"rank correlation of expected cosine and {score}", *found, sources)


def _cosines(gradient: Mapping[str, Any] | None) -> dict[tuple[str, str], float]:
    """By estimator and baseline, the expected cosine of a batch of 256 rollouts."""
    found = {}
    for row in (gradient or {}).get("rows", ()):
        value = row["batch_cosine"].get("256", {}).get("value")
        if value is not None:
            found[row["estimator"].split("|baseline:")[0], row["baseline"]] = value
    return found


def _row_of(method: Mapping[str, Any]) -> tuple[str, str] | None:
    """The row of the gradient's table that a method of training steps along."""
    options = method["options"]
    baseline, gauge = options.get("baseline", "none"), options.get("gauge", "raw")
    if method["algorithm"] == "llmr":
        return f"llmr|gauge:{gauge}", baseline
    if method["algorithm"] == "ketchup":
        return f"k-step:{options['k']}|tail:{options.get('tail', 'one-step')}|gauge:{gauge}", baseline
    if method["algorithm"] == "reinforce":
        return f"{options['estimator']}|gauge:{gauge}", baseline
    return None
