"""`ketchup report`: learning curves of training runs, seeds taken together."""

from pathlib import Path
from typing import Annotated

import typer

from ketchup_eval.cli.output import say, say_json, show

WIDTH = 180
"""Columns of a table that is not printed on a terminal."""


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="names or folders of training runs")],
    out: Annotated[Path | None, typer.Option(help="where files go; default: RUNS_DIR/report")] = None,
    runs_dir: Annotated[Path, typer.Option(help="where runs live")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print curves.json instead of a table")] = False,
) -> None:
    """Draw and tabulate the learning curves of runs; runs that differ only in their seed become one curve."""
    from ketchup.files import atomic_write_json
    from ketchup.runs import Run
    from ketchup_eval.report import learning_curves
    from ketchup_eval.report.learning_figure import write_learning_figure
    from ketchup_eval.report.learning_table import learning_table

    found = [Run.named(run, runs_dir) for run in runs]
    curves = learning_curves.learning_curves(found)
    content = learning_curves.curves_json(curves, found)
    folder = out or runs_dir / "report"
    atomic_write_json(folder / "curves.json", content)
    write_learning_figure(curves, folder)
    if as_json:
        say_json(content)
        return
    show(learning_table(curves), width=WIDTH)
    say(f"Written: {folder}/curves.json, .png, .pdf")
