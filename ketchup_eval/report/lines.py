"""Lines of estimates, and how every figure draws them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from ketchup.files import atomic_path
from ketchup.texts import plot_text
from ketchup_eval.stats.bootstrap import Estimate

ENDINGS = (".png", ".pdf")
"""Of the files that a figure becomes."""


@dataclass(frozen=True)
class Mark:
    """A point: the estimate `y` at `x`, of which there is an estimate `across` where it was measured too."""

    x: float
    y: Estimate
    across: Estimate | None = None


@dataclass(frozen=True)
class Line:
    """Marks that belong together; what is absent or not finite is none of them."""

    label: str
    marks: tuple[Mark, ...]

    @classmethod
    def of(cls, label: str, points: Iterable[tuple[float, Estimate]]) -> "Line":
        """The line through these points."""
        return cls(label, tuple(Mark(x, y) for x, y in points if y.value is not None and isfinite(y.value)))


def draw_bars(panel: Any, line: Line, aside: float = 1.0, **style: Any) -> None:
    """The line with its intervals as bars, `aside` times to the right so that they do not hide another's."""
    across = [mark.across for mark in line.marks if mark.across is not None]
    panel.errorbar(
        [mark.x * aside for mark in line.marks],
        [mark.y.value for mark in line.marks],
        yerr=_reaches([mark.y for mark in line.marks]),
        xerr=_reaches(across) if across else None,
        label=plot_text(line.label),
        **style,
    )


def draw_band(panel: Any, line: Line, bar_at: float | None = None, **style: Any) -> None:
    """The line with its intervals as a band or, at `bar_at` times the last x, the last of them as a bar."""
    if not line.marks:
        return
    values = [mark.y.value for mark in line.marks]
    panel.plot([mark.x for mark in line.marks], values, label=plot_text(line.label), **style)
    known = [mark for mark in line.marks if mark.y.low is not None]
    if not known:
        return
    lows, highs = [mark.y.low for mark in known], [mark.y.high for mark in known]
    if bar_at is None:
        panel.fill_between([mark.x for mark in known], lows, highs, color=style["color"], alpha=0.12, linewidth=0)
    else:
        panel.vlines(bar_at * known[-1].x, lows[-1], highs[-1], color=style["color"], linewidth=1.5)


def panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure of `size` inches and its panels [rows, columns], drawn without a display."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)


def finish(panel: Any, title: str, x: str, y: str, size: int = 10) -> None:
    """Title and axes in the manner of all figures; texts of others have gone through `plot_text`."""
    panel.set_title(title, fontsize=size)
    panel.set_xlabel(x)
    panel.set_ylabel(y)
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)


def save(figure: Any, folder: Path, name: str, dpi: int = 150) -> list[Path]:
    """Writes the figure as PNG and PDF, and closes it."""
    import matplotlib.pyplot as plt

    paths = [folder / f"{name}{ending}" for ending in ENDINGS]
    for path in paths:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=dpi)
    plt.close(figure)
    return paths


def _reaches(estimates: Sequence[Estimate]) -> list[list[float]]:
    """How far intervals reach below and above their values."""
    below = [one.value - one.low if one.value is not None and one.low is not None else 0.0 for one in estimates]
    above = [one.high - one.value if one.value is not None and one.high is not None else 0.0 for one in estimates]
    return [[max(0.0, x) for x in below], [max(0.0, x) for x in above]]
