"""Intervals of numbers that come from files, and what follows from two of them."""

import math
from collections.abc import Mapping
from typing import Any

from ketchup_eval.stats.bootstrap import Estimate
from ketchup_eval.study.claims.base import Evidence

Z95 = 1.959963984540054


def estimate(found: Mapping[str, Any]) -> Estimate:
    """An estimate as it stands in a file."""
    return Estimate(found["value"], found["low"], found["high"], found["n"])


def negated(found: Estimate, offset: float = 0.0) -> Estimate:
    """`offset` minus the quantity."""
    low, high = (None if end is None else offset - end for end in (found.high, found.low))
    return Estimate(None if found.value is None else offset - found.value, low, high, found.n)


def apart(one: Estimate, two: Estimate) -> Estimate:
    """two - one, from intervals of each alone: the ends add as roots of squares, as if they were independent.

    Both come from the same inputs and mostly move together, so the interval is wide rather than narrow.
    """
    if one.value is None or two.value is None:
        return Estimate(None, None, None, min(one.n, two.n))
    value = two.value - one.value
    ends = [end for side in (one, two) for end in (side.low, side.high)]
    if any(end is None for end in ends):
        known = [side for side in (one, two) if side.low is not None and side.high is not None]
        if len(known) != 1:
            return Estimate(value, None, None, min(one.n, two.n))
    below = math.hypot(_reach(two, -1), _reach(one, 1))
    above = math.hypot(_reach(two, 1), _reach(one, -1))
    return Estimate(value, value - below, value + above, min(one.n, two.n))


def _reach(found: Estimate, side: int) -> float:
    end = found.high if side > 0 else found.low
    return 0.0 if end is None or found.value is None else abs(end - found.value)


def about(place: str, what: str, estimate: Estimate, sources: tuple[str, ...]) -> Evidence:
    """Evidence whose p-value follows from the interval."""
    return Evidence(place, what, estimate, p_value(estimate), sources)


def p_value(found: Estimate) -> float | None:
    """Two-sided, from the half of the interval that faces 0, as that of a normal quantity."""
    if found.value is None or found.low is None or found.high is None:
        return None
    reach = found.value - found.low if found.value > 0 else found.high - found.value
    if reach <= 0:
        return None
    return math.erfc(abs(found.value) / (reach / Z95) / math.sqrt(2))
