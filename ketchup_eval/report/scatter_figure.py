"""The return of each output against its quality, a panel for each run and metric."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ketchup.files import atomic_path
from ketchup.texts import plot_text
from ketchup_eval.comparison.correlate import Correlation
from ketchup_eval.report.scores_table import interval, number

COLUMNS = 3
JITTER = 0.03
"""Share of the range by which points of few distinct values are moved apart."""
FEW_VALUES = 12


def write_scatter_figure(rows: Sequence[Correlation], path: Path) -> Path:
    """Draws a panel for each correlation, its ρ with interval above it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(COLUMNS, len(rows))
    lines = -(-len(rows) // columns)
    figure, panels = plt.subplots(
        lines, columns, figsize=(4.2 * columns, 3.6 * lines), squeeze=False, layout="constrained"
    )
    jitter = np.random.default_rng(0)
    for panel, row in zip(panels.flat, rows, strict=False):
        spread = np.ptp(row.quality) or 1.0
        few = len(np.unique(row.quality)) <= FEW_VALUES
        moved = row.quality + few * JITTER * spread * jitter.uniform(-1, 1, size=len(row.quality))
        panel.scatter(row.returns, moved, s=9, alpha=0.35, linewidths=0, color="tab:blue")
        rho = f"ρ = {number(row.rho.value)} {interval(row.rho)}, n = {row.rho.n}"
        panel.set_title(f"{plot_text(row.run)}: {rho}", fontsize=9, loc="left")
        panel.set_xlabel("return under the teacher (nats)")
        better = "" if row.higher_is_better else ", lower is better"
        panel.set_ylabel(f"{row.metric} of the output{better}{' (points spread)' if few else ''}")
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels.flat[len(rows) :]:
        panel.set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=160)
    plt.close(figure)
    return path
