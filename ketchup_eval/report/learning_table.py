"""The last validation of each setting, and its test scores, in the terminal."""

from collections.abc import Sequence

from ketchup_eval.report.learning_curves import SHOWN, Curve
from ketchup_eval.report.tables import Table
from ketchup_eval.stats.bootstrap import Estimate

COLUMNS = {"return": "return (nats)", "kl": "KL (nats/action)", "length": "actions", "ended": "ended", "loss": "loss"}


def learning_table(curves: Sequence[Curve]) -> Table:
    """A row per setting; a number is the mean over seeds, with its 95% t interval where there are several."""
    shown = [name for name in COLUMNS if any(curve.last(name) for curve in curves)]
    if "return" in shown and "loss" in shown:
        shown.remove("loss")  # each method's own, and so not to be compared
    selected = list(dict.fromkeys(name for curve in curves for name in curve.values if name not in SHOWN))
    scores = sorted({name for curve in curves for name in curve.scores})
    table = Table(title="Last validation and test scores, mean over seeds [95% interval]")
    table.add_column("method", overflow="fold", min_width=30)
    validated = [*(COLUMNS[name] for name in shown), *(f"validation {name}" for name in selected)]
    for column in ("seeds", "step", *validated, *(f"test {name}" for name in scores)):
        table.add_column(column, justify="right", no_wrap=True)
    for curve in curves:
        step = max(max(steps) for steps in curve.values.values())
        known = [curve.last(name) for name in (*shown, *selected)] + [curve.scores.get(name) for name in scores]
        table.add_row(curve.label, str(len(curve.seeds)), str(step), *map(_interval, known))
    return table


def _interval(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3g}"
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"
