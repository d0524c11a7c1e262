"""The claim that the judge agrees with the metric."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ketchup_eval.stats.bootstrap import Estimate
from ketchup_eval.study.claims.arms import RETURN
from ketchup_eval.study.claims.base import Evidence
from ketchup_eval.study.claims.numbers import estimate, negated, p_value
from ketchup_eval.study.collect import Content


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
