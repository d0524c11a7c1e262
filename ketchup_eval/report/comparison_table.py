"""Comparisons of systems, as a table in the terminal."""

from ketchup_eval.comparison.compare import CompareResult, Comparison
from ketchup_eval.report.scores_table import interval, number
from ketchup_eval.report.tables import Table

SMALLEST_P = 0.0001


def comparison_table(study: CompareResult) -> Table:
    """A row per pair and score."""
    table = Table(title=f"{study.task} ({study.split}), {study.n} inputs: b - a")
    for column in ("a", "b"):
        table.add_column(column, overflow="fold")
    table.add_column("score", no_wrap=True)
    for column in ("a is", "b is", "b - a", "95% interval", "p", "Holm", "bootstrap p", "+ / = / -", "detectable"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in study.comparisons:
        table.add_row(*_cells(row))
    return table


def comparison_notes(study: CompareResult) -> str:
    """What the columns mean, and what was let pass."""
    tests = "; ".join(f"{test}: {', '.join(scores)}" for test, scores in _tests(study).items())
    lower = ", ".join(dict.fromkeys(row.score for row in study.comparisons if not row.higher_is_better))
    lines = [
        f"p: {tests}; {study.trials} trials. Holm: adjusted for all {len(study.comparisons)} rows. Intervals: "
        f"Newcombe's for a share of one run, else paired percentile bootstrap, {study.resamples} resamples, seed "
        f"{study.seed}. + / = / -: inputs on which b is better, equal, worse. Detectable: smallest true difference "
        "that this n finds with power 80% at level 5%.",
    ]
    if lower:
        lines.append(f"Lower is better: {lower}.")
    if "t over runs and inputs" in tests:
        lines.append(
            "Several runs: t interval and test over runs and inputs; a single run is taken to vary with its seed as "
            "the other method's runs do."
        )
    else:
        lines.append("One run each: how far another seed would stray is not in these numbers.")
    lines += [f"Note, compared although different: {note}." for note in study.notes]
    return "\n".join(lines)


def p_text(p: float | None) -> str:
    """A p-value with four decimals, or a bound."""
    if p is None:
        return "-"
    return f"< {SMALLEST_P}" if p < SMALLEST_P else f"{p:.4f}"


def _cells(row: Comparison) -> list[str]:
    return [
        row.a,
        row.b,
        row.score,
        number(row.value_a),
        number(row.value_b),
        number(row.difference.value),
        interval(row.difference),
        p_text(row.p),
        p_text(row.holm),
        p_text(row.bootstrap_p),
        f"{row.improved} / {row.tied} / {row.worsened}",
        number(row.detectable),
    ]


def _tests(study: CompareResult) -> dict[str, list[str]]:
    tests: dict[str, list[str]] = {}
    for row in study.comparisons:
        scores = tests.setdefault(row.test, [])
        if row.score not in scores:
            scores.append(row.score)
    return tests
