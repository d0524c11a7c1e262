"""Learning curves, as the paper's Figures 1 and 3 have them, for the user's own runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ketchup.files import atomic_path
from ketchup.texts import plot_text
from ketchup_eval.report.learning_curves import Curve

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
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(PANELS), figsize=(13, 4.4), layout="constrained")
    colours = plt.get_cmap("tab10")
    for index, curve in enumerate(curves):
        for panel, quantity in zip(panels, PANELS, strict=True):
            place = None if len(curves) <= MOST_BANDS else 1 + 0.01 * (index + 1)
            _draw(panel, curve, quantity, colours(index % 10), dashed=index >= 10, bar_at=place)
    for panel, (title, unit) in zip(panels, PANELS.values(), strict=True):
        panel.set_title(title, fontsize=10)
        panel.set_ylabel(unit)
        panel.set_xlabel("optimiser steps")
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    columns = CHARACTERS_IN_A_ROW // (6 + max(map(len, labels), default=0))
    columns = max(1, min(5, len(labels), columns))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    paths = [folder / "curves.png", folder / "curves.pdf"]
    for path in paths:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=150)
    plt.close(figure)
    return paths


def _draw(panel: Any, curve: Curve, quantity: str, colour: Any, *, dashed: bool, bar_at: float | None) -> None:
    """A curve with its band or, at `bar_at` times the last step, the bar of its last interval."""
    steps = curve.values.get(quantity, {})
    if not steps:
        return
    panel.plot(
        list(steps),
        [estimate.value for estimate in steps.values()],
        label=plot_text(curve.label),
        color=colour,
        linestyle="--" if dashed else "-",
        marker="o",
        markersize=3,
    )
    known = {step: e for step, e in steps.items() if e.low is not None}
    if not known:
        return
    lows, highs = [e.low for e in known.values()], [e.high for e in known.values()]
    if bar_at is None:
        panel.fill_between(list(known), lows, highs, color=colour, alpha=0.12, linewidth=0)
    else:
        panel.vlines(bar_at * max(known), lows[-1], highs[-1], color=colour, linewidth=1.5)
