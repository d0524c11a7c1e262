"""The figures of a study as PNG and PDF."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ketchup.errors import RunError
from ketchup.files import atomic_write_json, read_kept_json
from ketchup.hashes import content_hash
from ketchup.texts import plot_text
from ketchup_eval.report import lines
from ketchup_eval.report.study.figures import Panel, Series, StudyFigure

DRAWN = ".figures.json"
"""What was drawn, by figure: one that would come out the same, which takes seconds, is left as it is."""
NOT_IN_LEGEND = "_"
"""To matplotlib."""
COLOURS = 10
WIDTH, HEIGHT = 5.2, 3.4
"""Inches of a panel."""
APART = 0.05
"""Bars stand apart by this share of a doubling."""
MOST_BANDS = 6
"""Lines whose bands can be told from one another; of more, only the last interval is drawn."""


def write_figures(figures: Sequence[StudyFigure], folder: Path) -> list[Path]:
    """Draws each figure as `name.png` and `name.pdf`: the means over seeds, and single seeds where they are all."""
    before: dict[str, Any] = {}
    with suppress(RunError):  # it is not there, or damaged: then all are drawn
        before = read_kept_json(folder / DRAWN, "")
    now = {figure.name: content_hash(asdict(figure)) for figure in figures}
    written = []
    for figure in figures:
        paths = [folder / f"{figure.name}{ending}" for ending in lines.ENDINGS]
        if before.get(figure.name) != now[figure.name] or not all(path.exists() for path in paths):
            _write(figure, folder)
        written += paths
    if now != before:
        atomic_write_json(folder / DRAWN, now)
    return written


def _write(figure: StudyFigure, folder: Path) -> None:
    columns = min(figure.columns, len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    drawn, grid = lines.panels(rows, columns, (WIDTH * columns, HEIGHT * rows + 0.8))
    for place, panel in zip(grid.flat, figure.panels, strict=False):
        _draw(place, panel)
    for place in grid.flat[len(figure.panels) :]:
        place.set_visible(False)
    known: dict[str, Any] = {}
    for place in grid.flat:
        for handle, label in zip(*place.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    ncols = max(1, min(5, len(known), int(16 * WIDTH * columns) // (8 + max(map(len, known)))))
    drawn.legend(known.values(), known.keys(), loc="outside lower center", ncols=ncols, frameon=False, fontsize=8)
    drawn.suptitle(plot_text(figure.title), fontsize=11)
    lines.save(drawn, folder, figure.name)


def shown(panel: Panel) -> list[Series]:
    """Of each method the mean over its seeds, or its only seed."""
    several = {series.line.label for series in panel.series if series.seed is None}
    return [series for series in panel.series if series.seed is None or series.line.label not in several]


def _draw(place: Any, panel: Panel) -> None:
    import matplotlib.pyplot as plt

    colours, series = plt.get_cmap("tab10"), shown(panel)
    for index, one in enumerate(series):
        dashed = one.dashed or one.colour >= COLOURS
        style = {
            "color": "0.6" if one.dull else colours(one.colour % COLOURS),
            "linestyle": "--" if dashed else "-",
            "marker": "s" if one.square else "o",
            "markersize": 3.5,
        }
        if panel.bars:
            aside = 2 ** (APART * (index - (len(series) - 1) / 2)) if panel.ticks else 1.0
            line = replace(one.line, label=NOT_IN_LEGEND) if one.dull else one.line
            lines.draw_bars(place, line, aside, capsize=2, linewidth=1.3, **style)
        else:
            lines.draw_band(place, one.line, None if len(series) <= MOST_BANDS else 1 + 0.01 * (index + 1), **style)
    if panel.x_scale != "linear":
        place.set_xscale("log", base=2 if panel.x_scale == "doubling" else 10)
    if panel.y_scale == "log":
        place.set_yscale("log", nonpositive="clip")
    if panel.ticks:
        place.set_xticks(panel.ticks, [str(tick) for tick in panel.ticks])
        place.xaxis.minorticks_off()
    elif panel.x_scale == "linear":
        place.xaxis.get_major_locator().set_params(integer=True)
    place.set_ylim(*panel.limits)
    lines.finish(place, plot_text(panel.title), panel.x, panel.y, size=9)
