"""The tables of a study for the terminal, as Markdown, CSV and LaTeX: the same cells in each."""

import csv
import io
from collections.abc import Iterable, Sequence

from rich.text import Text

from ketchup.texts import csv_cell, latex_text, markdown_text, one_line
from ketchup_eval.report.comparison_table import p_text
from ketchup_eval.report.scores_table import interval, number
from ketchup_eval.report.study.tables import Cell, Column, StudyRow, StudyTable
from ketchup_eval.report.tables import Table

ABSENT = "-"
ARROWS = {True: "↑", False: "↓"}
LATEX_ARROWS = {True: r"$\uparrow$", False: r"$\downarrow$"}


def in_terminal(tables: Sequence[StudyTable]) -> list[Table]:
    """A table for each student and task; the best is bold and, as output may be plain, has a star."""
    return [_terminal(table.of_task(task)) for table in tables for task in table.tasks]


def as_markdown(tables: Sequence[StudyTable]) -> str:
    """A heading and a table for each student, the tasks side by side."""
    return "\n\n".join(map(_markdown, tables)) + "\n"


def as_csv(tables: Sequence[StudyTable]) -> str:
    """A line for each number; `seeds` is empty where nothing was trained, `p` where nothing was compared."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ["student", "row", "task", "score", "higher_is_better", "value", "low", "high", "n", "seeds", "p", "best"]
    writer.writerow(names)
    for table in tables:
        for row in table.rows:
            for column, cell in row.cells.items():
                found = cell.estimate
                about = [table.student, row.name, column.task, column.score, str(column.higher_is_better).lower()]
                numbers = [found.value, found.low, found.high, found.n, cell.seeds or None, cell.p]
                writer.writerow(map(csv_cell, [*about, *numbers, str(cell.best).lower()]))
    return out.getvalue()


def as_latex(tables: Sequence[StudyTable]) -> str:
    """A `tabular` (booktabs) for each student, tasks side by side as in the paper; intervals and p in a second line."""
    return "\n\n".join(map(_latex, tables)) + "\n"


def seeds_of(row: StudyRow) -> str:
    """How many seeds the numbers of a row have; a dash where nothing was trained."""
    counts = sorted({cell.seeds for cell in row.cells.values()})
    return "-".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if row.trained else ABSENT


def p_words(p: float | None) -> str:
    """`p = 0.0123` or `p < 0.0001`; nothing for what was not compared."""
    shown = p_text(p)
    return "" if p is None else f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def _terminal(table: StudyTable) -> Table:
    shown = Table(title=table.title)
    shown.add_column("method", overflow="fold")
    shown.add_column("seeds", justify="right", no_wrap=True)
    for column in table.columns:
        shown.add_column(f"{column.score} {ARROWS[column.higher_is_better]}", justify="right")
    for row in table.rows:
        cells = [_terminal_cell(row.cells.get(column)) for column in table.columns]
        shown.add_row(row.name, seeds_of(row), *cells)
    return shown


def _terminal_cell(cell: Cell | None) -> Text:
    if cell is None:
        return Text(ABSENT)
    value = number(cell.estimate.value)
    shown = Text.assemble((f"{value}*", "bold") if cell.best else value)
    return shown.append("".join(f" {part}" for part in _rest(cell)))


def _rest(cell: Cell) -> list[str]:
    """Interval and p, where they are there."""
    shown = interval(cell.estimate)
    return [part for part in ("" if shown == ABSENT else shown, p_words(cell.p)) if part]


def _markdown(table: StudyTable) -> str:
    scores = [f"{_titled(table, column)} {ARROWS[column.higher_is_better]}" for column in table.columns]
    titles = ["method", "seeds", *scores]
    lines = [f"### {_capital(markdown_text(table.title))}", "", _markdown_row(map(markdown_text, titles))]
    lines.append("|---|" + "---:|" * (len(titles) - 1))
    for row in table.rows:
        cells = [_markdown_cell(row.cells.get(column)) for column in table.columns]
        lines.append(_markdown_row([markdown_text(row.name), seeds_of(row), *cells]))
    return "\n".join([*lines, "", markdown_text(table.about)])


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell | None) -> str:
    if cell is None:
        return ABSENT
    value = number(cell.estimate.value)
    return " ".join([f"**{value}**" if cell.best else value, *map(markdown_text, _rest(cell))])


def _latex(table: StudyTable) -> str:
    lines = [f"% {one_line(_capital(table.title))}. {one_line(table.about)}"]
    lines += [r"\begin{tabular}{lr" + "c" * len(table.columns) + "}", r"\toprule"]
    spans = [sum(column.task == task for column in table.columns) for task in table.tasks]
    tasks = [
        rf"\multicolumn{{{span}}}{{c}}{{{latex_text(task)}}}" for task, span in zip(table.tasks, spans, strict=True)
    ]
    lines.append(_latex_row(["", "", *tasks]))
    lines.append("".join(_rule(2 + sum(spans[:at]) + 1, span) for at, span in enumerate(spans)))
    scores = [f"{latex_text(one.score)} {LATEX_ARROWS[one.higher_is_better]}" for one in table.columns]
    lines += [_latex_row(["Method", "Seeds", *scores]), r"\midrule"]
    for before, row in zip([None, *table.rows], table.rows, strict=False):
        if before is not None and row.trained and not before.trained:
            lines.append(r"\midrule")
        cells = [row.cells.get(column) for column in table.columns]
        seeds = "--" if not row.trained else seeds_of(row).replace("-", "--")
        lines.append(_latex_row([latex_text(row.name), seeds, *map(_latex_value, cells)]))
        if any(cell and _rest(cell) for cell in cells):
            lines.append(_latex_row(["", "", *map(_latex_rest, cells)]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _latex_row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _rule(start: int, span: int) -> str:
    return rf"\cmidrule(lr){{{start}-{start + span - 1}}}"


def _latex_value(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    value = number(cell.estimate.value)
    return rf"\textbf{{{value}}}" if cell.best else value


def _latex_rest(cell: Cell | None) -> str:
    parts = [] if cell is None else _rest(cell)
    return rf"{{\scriptsize {latex_text(' '.join(parts))}}}" if parts else ""


def _titled(table: StudyTable, column: Column) -> str:
    """A column's name, with its task where there are several."""
    return f"{column.task} {column.score}" if len(table.tasks) > 1 else column.score


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
