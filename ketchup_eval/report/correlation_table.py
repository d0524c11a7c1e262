"""Return against quality, in the terminal."""

from collections.abc import Sequence

from ketchup_eval.comparison.correlate import Change, Correlation
from ketchup_eval.report.scores_table import interval, number
from ketchup_eval.report.tables import Table


def correlation_table(rows: Sequence[Correlation]) -> Table:
    """Spearman's ρ of each run and metric over its inputs."""
    table = Table(title="Return and quality of the same output: Spearman's ρ over inputs")
    for column in ("run", "metric", "ρ", "95% interval", "n"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(row.run, row.metric, number(row.rho.value), interval(row.rho), str(row.rho.n))
    return table


def change_table(rows: Sequence[Change]) -> Table:
    """The change of return and metric between two runs, and ρ of both over inputs."""
    table = Table(title="Change against another run: does more return buy more quality?")
    for column in ("run", "against", "metric", "return change", "metric change", "ρ of changes", "95% interval", "n"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        moved = (number(row.return_change), number(row.metric_change))
        cells = (number(row.rho.value), interval(row.rho), str(row.rho.n))
        table.add_row(row.run, row.against, row.metric, *moved, *cells)
    return table
