"""Theorem 1 beside the measurement: what it leaves out of the variance of a K-step return, a panel per student."""

from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from ketchup.files import atomic_path
from ketchup.texts import model_label, plot_text
from ketchup_eval.variance.estimates import ReturnEstimate
from ketchup_eval.variance.result import StudentResult, VarianceResult
from ketchup_eval.variance.theory import PIECES

COLOURS = {"positions": "#4477aa", "states": "#ccbb44", "steps": "#228833", "lengths": "#ee6677"}
LABELS = {
    "positions": "variances that differ by position",
    "states": "covariance of q and v of a state",
    "steps": "covariance across steps",
    "lengths": "random length",
}
WIDTH = 0.15
"""Of a bar; there are four for each K."""


def write_theory_figure(result: VarianceResult, run: Path) -> list[Path]:
    """Draws `theory.png` and `theory.pdf`: bars lead from Theorem 1's ratio to the measured one, K by K."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tails, students = result.analysis.tails, result.students
    figure, panels = plt.subplots(
        len(tails),
        len(students),
        figsize=(4.2 * len(students) + 0.6, 3.2 * len(tails) + 0.9),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    highest = max(number for student in students for number in _heights(student))
    for row, tail in zip(panels, tails, strict=True):
        for panel, student in zip(row, students, strict=True):
            _draw(panel, student, tail)
            panel.set_ylim(0, 1.08 * highest)
        row[0].set_ylabel("Var[$\\hat{G}_0$] / Var[$G_0$]")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(
        f"{result.rollouts.task}, teacher {plot_text(model_label(result.rollouts.teacher))}: from Theorem 1 to what is "
        f"measured, {result.inputs} inputs x {result.rollouts.samples} samples, gauge {result.analysis.gauge}",
        fontsize=10,
    )
    paths = [run / "theory.png", run / "theory.pdf"]
    for path in paths:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=160)
    plt.close(figure)
    return paths


def _rows(student: StudentResult, tail: str) -> list[ReturnEstimate]:
    """Those of K > 1 that have both ratios."""
    return [
        row
        for row in student.estimates
        if row.k not in (None, 1)
        and row.tail == tail
        and row.theory_gap is not None
        and None not in (row.theory_ratio.value, row.variance_ratio.value, row.theory_gap.total.value)
    ]


def _stages(row: ReturnEstimate) -> list[float]:
    """Theorem 1's ratio and the one after each piece; the last is the measured one."""
    return list(accumulate((getattr(row.theory_gap, name).value for name in PIECES), initial=row.theory_ratio.value))


def _heights(student: StudentResult) -> list[float]:
    rows = [row for tail in ("segment", "one-step") for row in _rows(student, tail)]
    bounds = [row.variance_ratio.high for row in rows if row.variance_ratio.high is not None]
    return [1e-3, *bounds, *(stage for row in rows for stage in _stages(row))]


def _draw(panel: Any, student: StudentResult, tail: str) -> None:
    rows = _rows(student, tail)
    places = np.arange(len(rows))
    stages = np.array([_stages(row) for row in rows]).reshape(len(rows), len(PIECES) + 1)
    panel.scatter(places - 2.5 * WIDTH, stages[:, 0], marker="_", s=160, color="black", label="Theorem 1")
    for index, name in enumerate(PIECES):
        at = places + (index - 1.5) * WIDTH
        change = stages[:, index + 1] - stages[:, index]
        panel.bar(at, change, WIDTH, bottom=stages[:, index], color=COLOURS[name], label=LABELS[name])
    measured = [row.variance_ratio for row in rows]
    value = np.array([number.value for number in measured])
    low, high = (
        np.array([number.value if end is None else end for number, end in zip(measured, ends, strict=True)])
        for ends in ([number.low for number in measured], [number.high for number in measured])
    )
    panel.errorbar(
        places + 2.5 * WIDTH,
        value,
        yerr=np.abs([value - low, high - value]),
        fmt="o",
        markersize=4,
        capsize=3,
        color="black",
        label="measured",
    )
    panel.set_xticks(places, [str(row.k) for row in rows])
    panel.set_xlabel("K")
    panel.set_title(f"{plot_text(model_label(student.name))}, {tail}", fontsize=10)
    panel.grid(alpha=0.3, axis="y")
    panel.spines[["top", "right"]].set_visible(False)
