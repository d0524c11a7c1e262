"""A judge's results in the terminal."""

from pathlib import Path

from ketchup.runs import Run
from ketchup_eval.judge.results import JudgeResult, Preference
from ketchup_eval.report.tables import Table
from ketchup_eval.stats.bootstrap import Estimate


def judge_tables(result: JudgeResult) -> list[Table]:
    """What the judge prefers, how far it can be trusted, and how the systems differ."""
    tables = [_preferences(result), _reliability(result)]
    if result.differences:
        tables.append(_differences(result))
    if any(row.human for row in result.comparisons):
        tables.append(_human(result))
    return tables


def judge_notes(result: JudgeResult) -> str:
    """What the columns mean, which votes are missing, and the settings behind every number."""
    rows = result.comparisons
    states = {
        name: sum(getattr(row.counts, name) for row in rows)
        for name in ("unparsed", "cut", "empty", "too_long", "refused", "missing")
    }
    lost = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in states.items() if count)
    flips = result.repeat_flips
    lines = [
        f"Win rate: share of all parsed votes, four to an item ({sum(row.counts.votes for row in rows):,} votes; "
        f"without a choice: {lost or 'none'}). "
        "[low, high]: 95% over items, Hall's within Wilson's; for alpha, kappa and equal length a percentile bootstrap "
        f"({result.plan.settings.resamples} resamples). p: sign flips of items, Holm over the table.",
        'Position: P(first shown) - P(second shown). ID: P("A") - P("B"). '
        "Alpha: Krippendorff's, with the four variants as raters.",
    ]
    if flips.value is not None:
        lines.append(f"Asked twice, {flips.n} items: {_percent(flips)} of the choices differ.")
    if any(_extrapolated(row) for row in rows):
        lines.append("* one system is longer on every item: equal length lies outside the data.")
    if result.plan.unshared:
        lines.append(f"{result.plan.unshared:,} ids that some system lacks are left out.")
    return "\n".join([*lines, *(f"{system_name(row.a)}: {row.signature}" for row in rows)])


def system_name(system: str) -> str:
    """The name of a run, also where a file of its predictions is given; else that of the file."""
    path = Path(system)
    if path.suffix != ".jsonl":
        return path.name
    run = Run.of_predictions(path)
    return run.name if run and run.name else path.stem


def _preferences(result: JudgeResult) -> Table:
    table = _table(
        f"Preferred over {system_name(result.plan.settings.b)}, %",
        ("criterion", "system", "win rate", "p", "bounds", "majority: a / tie / b", "items", "identical"),
    )
    for row in result.comparisons:
        found = row.effects
        majority = " / ".join(_plain(share.value) for share in (found.majority_a, found.tied, found.majority_b))
        bounds = f"{_plain(found.lowest)} to {_plain(found.highest)}" if row.counts.votes else "-"
        cells = [_percent(found.vote_share), _p(row.p_holm), bounds, majority]
        table.add_row(*_names(row), *cells, str(row.counts.items), str(row.counts.identical))
    return table


def _reliability(result: JudgeResult) -> Table:
    soft = any(row.effects.soft_share.value is not None for row in result.comparisons)
    columns = ["criterion", "system", "position", "ID", "consistent", "alpha", "longer wins", "at equal length"]
    table = _table("The judge itself, %", (*columns, *(["soft win rate"] if soft else [])))
    for row in result.comparisons:
        found = row.effects
        mark = "*" if _extrapolated(row) else ""
        cells = [_percent(found.position), _percent(found.id), _percent(found.consistent), _number(found.alpha)]
        cells += [_percent(found.longer), _percent(found.equal_length) + mark]
        table.add_row(*_names(row), *cells, *([_percent(found.soft_share)] if soft else []))
    return table


def _differences(result: JudgeResult) -> Table:
    table = _table("Between systems, paired over items, points", ("criterion", "systems", "difference", "p", "items"))
    for row in result.differences:
        systems = f"{system_name(row.a)} - {system_name(row.other)}"
        table.add_row(row.criterion, systems, _percent(row.difference), _p(row.p_holm), str(row.difference.n))
    return table


def _human(result: JudgeResult) -> Table:
    table = _table("Agreement with people", ("criterion", "system", "votes that agree, %", "kappa", "items"))
    for row in result.comparisons:
        if row.human:
            cells = [_percent(row.human.accuracy), _number(row.human.kappa), str(row.human.kappa.n)]
            table.add_row(*_names(row), *cells)
    return table


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title)
    for column in columns:
        table.add_column(
            column, justify="left" if column in ("criterion", "system", "systems") else "right", no_wrap=True
        )
    return table


def _extrapolated(row: Preference) -> bool:
    return row.effects.extrapolated and row.effects.equal_length.value is not None


def _names(row: Preference) -> tuple[str, str]:
    return row.criterion, system_name(row.a)


def _percent(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return _plain(estimate.value)
    return f"{_plain(estimate.value)} [{_plain(estimate.low)}, {_plain(estimate.high)}]"


def _plain(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _number(estimate: Estimate) -> str:
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _p(p_value: float | None) -> str:
    if p_value is None:
        return "-"
    return f"{p_value:.3f}" if p_value >= 0.001 else "<0.001"
