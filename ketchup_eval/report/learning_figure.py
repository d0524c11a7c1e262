"""Learning curves, as the paper's Figures 1 and 3 have them, for the user's own runs."""

from collections.abc import Sequence
from pathlib import Path

from ketchup_eval.report.learning_curves import SHOWN, Curve
from ketchup_eval.report.lines import Line, draw_band, finish, panels, save

PANELS = {
    "return": ("Mean return on validation inputs (Eq. 10)", "nats"),
    "kl": ("KL(teacher ‖ student) on its own rollouts", "nats per action"),
    "length": ("Length of rollouts", "actions"),
}
MOST_BANDS = 6
CHARACTERS_IN_A_ROW = 160
"""What the legend has room for, line and space before a label counting as six."""


def write_learning_figure(curves: Sequence[Curve], folder: Path) -> list[Path]:
    """Draws `curves.png` and `curves.pdf`, with 95% intervals over seeds where there are several.

    They are bands or, as those of many curves would hide each other, bars at the last step, side by side.
    """
    import matplotlib.pyplot as plt

    selected = dict.fromkeys(name for curve in curves for name in curve.values if name not in SHOWN)
    titles = {**PANELS, **{name: (f"{name} of greedy outputs on validation inputs", name) for name in selected}}
    figure, ((*row,),) = panels(1, len(titles), (13 / 3 * len(titles), 4.4))
    colours = plt.get_cmap("tab10")
    for index, curve in enumerate(curves):
        place = None if len(curves) <= MOST_BANDS else 1 + 0.01 * (index + 1)
        style = {
            "color": colours(index % 10),
            "linestyle": "--" if index >= 10 else "-",
            "marker": "o",
            "markersize": 3,
        }
        for panel, quantity in zip(row, titles, strict=True):
            draw_band(panel, Line.of(curve.label, curve.values.get(quantity, {}).items()), place, **style)
    for panel, (title, unit) in zip(row, titles.values(), strict=True):
        finish(panel, title, "optimiser steps", unit)
    handles, labels = row[0].get_legend_handles_labels()
    columns = CHARACTERS_IN_A_ROW // (6 + max(map(len, labels), default=0))
    columns = max(1, min(5, len(labels), columns))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    return save(figure, folder, "curves")
