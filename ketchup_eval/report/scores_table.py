"""Scores of one or more systems, as a table in the terminal and for LaTeX."""

from collections.abc import Sequence

from ketchup.texts import latex_text, one_line
from ketchup_eval.evaluation.evaluate import Evaluation
from ketchup_eval.evaluation.scores import Score
from ketchup_eval.report.tables import Table
from ketchup_eval.stats.bootstrap import Estimate


def scores_table(evaluation: Evaluation) -> Table:
    """A row per score: value, 95% interval, n and signature."""
    about = evaluation.about
    table = Table(title=f"{evaluation.run.name}: {about['task']} ({about['split']}), {about['model']}")
    table.add_column("score", no_wrap=True)
    for column in ("value", "95% interval", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("signature", overflow="fold")
    for score in evaluation.scores:
        table.add_row(
            score.name, number(score.estimate.value), interval(score.estimate), str(score.estimate.n), score.signature
        )
    return table


def scores_notes(evaluation: Evaluation) -> str:
    """How intervals were made, and what was counted."""
    rows = evaluation.outputs.predictions
    empty = sum(not row.text.strip() for row in rows)
    known = [row for row in rows if row.ended is not None]
    truncated = f"{sum(not row.ended for row in known)} truncated" if known else "truncation unknown"
    about = evaluation.about
    return (
        f"{len(rows)} outputs, {empty} empty, {truncated}. Intervals over inputs: Wilson's for shares (in %), Hall's "
        f"for means, percentile bootstraps for corpus scores ({about['resamples']} resamples, seed {about['seed']})."
    )


def latex(evaluations: Sequence[Evaluation]) -> str:
    r"""A `tabular` with a row per system and a column per score, each with its interval; signatures in comments."""
    names = list(dict.fromkeys(score.name for evaluation in evaluations for score in evaluation.scores))
    lines = [r"\begin{tabular}{l" + "r" * len(names) + "}", _row(["system", *map(latex_text, names)]), r"\hline"]
    for evaluation in evaluations:
        found = {score.name: score for score in evaluation.scores}
        lines.append(_row([latex_text(evaluation.run.name), *(_cell(found.get(name)) for name in names)]))
    lines.append(r"\end{tabular}")
    notes = dict.fromkeys(f"{s.name}: {s.signature}, n = {s.estimate.n}" for e in evaluations for s in e.scores)
    return "\n".join([*lines, *(f"% {one_line(note)}" for note in notes)])


def number(value: float | None) -> str:
    """Two decimals, or a dash for what is absent."""
    return "-" if value is None else f"{value:.2f}"


def interval(estimate: Estimate) -> str:
    """`[low, high]`, or a dash where there is none."""
    if estimate.low is None or estimate.high is None:
        return "-"
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def _cell(score: Score | None) -> str:
    if score is None:
        return "-"
    return f"{number(score.estimate.value)} {interval(score.estimate)}"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
