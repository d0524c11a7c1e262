"""Figure 2 of the paper for the user's own models: variance and bias of the K-step return by K, a line per student."""

from pathlib import Path
from typing import Any

from ketchup.texts import model_label, plot_text
from ketchup_eval.report.lines import Line, draw_bars, finish, panels, save
from ketchup_eval.variance.result import StudentResult, VarianceResult

APART = 0.06
"""Lines stand apart by this share of a doubling of K, so that intervals do not hide one another."""
STYLES = {"segment": ("-", "o"), "one-step": ("--", "s")}


def write_variance_figure(result: VarianceResult, run: Path) -> list[Path]:
    """Draws `variance.png` and `variance.pdf`; error bars are 95% intervals, lines are labelled by the student's KL."""
    import matplotlib.pyplot as plt

    figure, ((*row,),) = panels(1, 3, (12.5, 3.9))
    colours = plt.get_cmap("viridis")
    lines = [(student, tail) for student in result.students for tail in result.analysis.tails]
    for index, (student, tail) in enumerate(lines):
        colour = colours(0.85 * result.students.index(student) / max(1, len(result.students) - 1))
        dashes, marker = STYLES[tail]
        style = {
            "color": colour,
            "linestyle": dashes,
            "marker": marker,
            "markersize": 4,
            "capsize": 3,
            "linewidth": 1.5,
        }
        for panel, quantity in zip(row, ("variance", "bias", "mse"), strict=True):
            line = _line(student, tail, quantity, several_tails=len(result.analysis.tails) > 1)
            draw_bars(panel, line, 2 ** (APART * (index - (len(lines) - 1) / 2)), **style)
    # On a linear axis K = 1 would leave nothing to see of the others, but a variance of 0 is on no other.
    falling = all((row.variance.value or 0) > 0 for student in result.students for row in student.estimates)
    for panel, title, unit, scale in zip(
        row,
        ("Variance of the K-step return", "Bias of the K-step return", "Error of one sample (MSE)"),
        ("Var[$\\hat{G}_0$]  (nats²)", "E[$\\hat{G}_0 - G_0$]  (nats)", "variance + bias²  (nats²)"),
        ("log" if falling else "linear", "linear", "linear"),
        strict=True,
    ):
        _finish(panel, result, title, unit, scale)
    handles, labels = row[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), frameon=False)
    figure.suptitle(
        f"{result.rollouts.task}, teacher {plot_text(model_label(result.rollouts.teacher))}: {result.inputs} inputs x "
        f"{result.rollouts.samples} samples, gauge {result.analysis.gauge}, 95% intervals over inputs",
        fontsize=10,
    )
    return save(figure, run, "variance", dpi=160)


def _line(student: StudentResult, tail: str, quantity: str, *, several_tails: bool) -> Line:
    label = f"{'KL' if student.kl else 'KL(π‖p)'} {student.distance.value:.3g}" + (f", {tail}" if several_tails else "")
    rows = [row for row in student.estimates if row.tail == tail]
    points = [(row.k, getattr(row, quantity)) for row in rows if row.k is not None]
    return Line.of(f"{label}  ({model_label(student.name)})", points)


def _finish(panel: Any, result: VarianceResult, title: str, unit: str, scale: str) -> None:
    panel.set_xscale("log", base=2)
    panel.set_xticks(result.analysis.ks, [str(k) for k in result.analysis.ks])
    panel.xaxis.minorticks_off()
    if scale == "log":
        panel.set_yscale("log", nonpositive="clip")
    else:
        panel.set_ylim(bottom=0)
    finish(panel, title, "K", unit)
