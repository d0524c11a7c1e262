"""How well each row's gradient points, by the size of the batch, and what bias and noise it has."""

from pathlib import Path
from typing import Any

from ketchup.files import atomic_path
from ketchup.texts import plot_text
from ketchup_eval.report.variance_table import short_name
from ketchup_eval.stats.bootstrap import Estimate
from ketchup_eval.variance.gradient.quality import RowQuality
from ketchup_eval.variance.study import StudentResult, VarianceResult

SHOWN = 8
"""Most rows of a panel: those that point best at the batch that was asked for."""


def write_gradient_figure(result: VarianceResult, run: Path) -> list[Path]:
    """Draws `gradient.png` and `gradient.pdf`: a row of two panels for each student.

    Left: the cosine to the gradient of E[G_0] by the rollouts in a batch, for the rows of that objective that point
    best. Right: bias against noise, both by the true gradient's length, a point for each row.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    students = [student for student in result.students if student.gradient]
    figure, panels = plt.subplots(
        len(students), 2, figsize=(12, 4.2 * len(students)), layout="constrained", squeeze=False
    )
    for student, (left, right) in zip(students, panels, strict=True):
        rows = _best_first(student, result)
        colours = plt.get_cmap("tab10")
        for index, row in enumerate(rows[:SHOWN]):
            _curve(left, row, colours(index), 1 + 0.04 * (index - SHOWN / 2))
            _point(right, row, colours(index))
        for row in rows[SHOWN:]:
            _point(right, row, "0.6")
        _finish(left, right, student)
    figure.suptitle(
        f"{result.rollouts.task}, teacher {plot_text(short_name(result.rollouts.teacher))}: {result.inputs} inputs x "
        f"{result.rollouts.samples} samples, gradients by {students[0].gradient.where}, 95% intervals over inputs",  # type: ignore[union-attr]
        fontsize=10,
    )
    paths = [run / "gradient.png", run / "gradient.pdf"]
    for path in paths:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=150)
    plt.close(figure)
    return paths


def _best_first(student: StudentResult, result: VarianceResult) -> list[RowQuality]:
    assert student.gradient is not None
    assert result.analysis.gradient is not None
    batch = result.analysis.gradient.batch
    rows = [row for row in student.gradient.rows if row.objective == "expected-return"]
    return sorted(rows, key=lambda row: -(row.batch_cosine[batch].value or -1.0))


def _curve(panel: Any, row: RowQuality, colour: Any, aside: float) -> None:
    known = [(size, one) for size, one in sorted(row.batch_cosine.items()) if one.value is not None]
    panel.errorbar(
        [size * aside for size, _ in known],
        [one.value for _, one in known],
        yerr=_bars([one for _, one in known]),
        label=plot_text(_label(row)),
        color=colour,
        linestyle="-" if row.baseline == "none" else "--",
        marker="o",
        markersize=4,
        capsize=2,
        linewidth=1.4,
    )


def _point(panel: Any, row: RowQuality, colour: Any) -> None:
    if row.noise_ratio.value is None or row.relative_bias.value is None:
        return
    panel.errorbar(
        [row.noise_ratio.value],
        [row.relative_bias.value],
        xerr=_bars([row.noise_ratio]),
        yerr=_bars([row.relative_bias]),
        color=colour,
        marker="o" if row.baseline == "none" else "s",
        markersize=5,
        capsize=2,
        linewidth=0.8,
    )


def _bars(estimates: list[Estimate]) -> list[list[float]]:
    below = [one.value - one.low if one.value is not None and one.low is not None else 0.0 for one in estimates]
    above = [one.high - one.value if one.value is not None and one.high is not None else 0.0 for one in estimates]
    return [[max(0.0, x) for x in below], [max(0.0, x) for x in above]]


def _label(row: RowQuality) -> str:
    name = row.estimator.partition("|gauge")[0].replace("|tail:", ":")
    return name if row.baseline == "none" else f"{name}, {row.baseline}"


def _finish(left: Any, right: Any, student: StudentResult) -> None:
    name = plot_text(short_name(student.name))
    left.set_xscale("log", base=2)
    left.set_xlabel("rollouts in a batch")
    left.set_ylabel("cosine to the gradient of E[G]")
    left.set_ylim(0, 1.05)
    assert student.gradient is not None
    known = student.gradient.recommendation is not None
    said = "how well a batch points (best rows)" if known else "UNKNOWN, G cannot be told from 0"
    left.set_title(f"{name}: {said}", fontsize=10)
    left.legend(fontsize=7, frameon=False)
    right.set_xscale("log")
    right.set_xlabel("noise: trace of the covariance over LLMR's (scaling changes it)")
    right.set_ylabel("bias by the length of the true gradient")
    right.set_title(f"{name}: bias against noise (square: with baseline; grey: other rows)", fontsize=9)
    for panel in (left, right):
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
