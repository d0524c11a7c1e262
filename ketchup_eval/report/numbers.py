"""Numbers as tables show them."""

from ketchup_eval.stats.bootstrap import Estimate


def interval(estimate: Estimate) -> str:
    """`value [low, high]`, or what there is of it."""
    if estimate.low is None or estimate.high is None:
        return number(estimate.value)
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"


def number(value: float | None) -> str:
    """Three digits, all of them from 1,000 on; a dash for what is absent."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percent(value: float | None) -> str:
    """A share in whole percent; a dash for what is absent."""
    return "-" if value is None else f"{100 * value:.0f}%"
