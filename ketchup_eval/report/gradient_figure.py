"""How well each row's gradient points, by the size of the batch, and what bias and noise it has."""

from pathlib import Path
from typing import Any

from ketchup.texts import model_label, plot_text
from ketchup_eval.report.labels import SHOWN, row_label
from ketchup_eval.report.lines import Line, Mark, draw_bars, finish, panels, save
from ketchup_eval.variance.gradient.quality import RowQuality
from ketchup_eval.variance.result import StudentResult, VarianceResult


def write_gradient_figure(result: VarianceResult, run: Path) -> list[Path]:
    """Draws `gradient.png` and `gradient.pdf`: a row of two panels for each student.

    Left: the cosine to the gradient of E[G_0] by the rollouts in a batch, for the rows of that objective that point
    best. Right: bias against noise, both by the true gradient's length, a point for each row.
    """
    import matplotlib.pyplot as plt

    students = [student for student in result.students if student.gradient]
    figure, grid = panels(len(students), 2, (12, 4.2 * len(students)))
    for student, (left, right) in zip(students, grid, strict=True):
        rows = _best_first(student, result)
        colours = plt.get_cmap("tab10")
        for index, row in enumerate(rows[:SHOWN]):
            _curve(left, row, colours(index), 1 + 0.04 * (index - SHOWN / 2))
            _point(right, row, colours(index))
        for row in rows[SHOWN:]:
            _point(right, row, "0.6")
        _finish(left, right, student)
    figure.suptitle(
        f"{result.rollouts.task}, teacher {plot_text(model_label(result.rollouts.teacher))}: {result.inputs} inputs x "
        f"{result.rollouts.samples} samples, gradients by {students[0].gradient.where}, 95% intervals over inputs",  # type: ignore[union-attr]
        fontsize=10,
    )
    return save(figure, run, "gradient")


def _best_first(student: StudentResult, result: VarianceResult) -> list[RowQuality]:
    assert student.gradient is not None
    assert result.analysis.gradient is not None
    batch = result.analysis.gradient.batch
    rows = [row for row in student.gradient.rows if row.objective == "expected-return"]
    return sorted(rows, key=lambda row: -(row.batch_cosine[batch].value or -1.0))


def _curve(panel: Any, row: RowQuality, colour: Any, aside: float) -> None:
    line = Line.of(row_label(row.estimator, row.baseline), sorted(row.batch_cosine.items()))
    dashes = "-" if row.baseline == "none" else "--"
    draw_bars(panel, line, aside, color=colour, linestyle=dashes, marker="o", markersize=4, capsize=2, linewidth=1.4)


def _point(panel: Any, row: RowQuality, colour: Any) -> None:
    if row.noise_ratio.value is None or row.relative_bias.value is None:
        return
    marks = (Mark(row.noise_ratio.value, row.relative_bias, row.noise_ratio),)
    shape = "o" if row.baseline == "none" else "s"
    label = row_label(row.estimator, row.baseline)
    draw_bars(panel, Line(label, marks), color=colour, marker=shape, markersize=5, capsize=2, linewidth=0.8)


def _finish(left: Any, right: Any, student: StudentResult) -> None:
    name = plot_text(model_label(student.name))
    left.set_xscale("log", base=2)
    left.set_ylim(0, 1.05)
    assert student.gradient is not None
    known = student.gradient.recommendation is not None
    said = "how well a batch points (best rows)" if known else "UNKNOWN, G cannot be told from 0"
    finish(left, f"{name}: {said}", "rollouts in a batch", "cosine to the gradient of E[G]")
    left.legend(fontsize=7, frameon=False)
    right.set_xscale("log")
    finish(
        right,
        f"{name}: bias against noise (square: with baseline; grey: other rows)",
        "noise: trace of the covariance over LLMR's (scaling changes it)",
        "bias by the length of the true gradient",
        size=8,
    )
