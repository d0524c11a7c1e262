"""A judge's win rates in LaTeX, in the shape of the paper's Table 2: a row a system, a column a criterion."""

from ketchup.texts import latex_text, one_line
from ketchup_eval.judge.results import JudgeResult
from ketchup_eval.report.judge_table import system_name


def judge_latex(result: JudgeResult) -> str:
    """A `tabular` (booktabs) of win rates in per cent, ± half the width of their intervals; signatures as comments."""
    settings = result.plan.settings
    cells = {(row.a, row.criterion): row.effects.vote_share for row in result.comparisons}
    names = [latex_text(criterion.capitalize()) for criterion in settings.criteria]
    lines = [f"% {one_line(system_name(row.a))}: {one_line(row.signature)}" for row in result.comparisons]
    lines += [
        r"\begin{tabular}{l" + "c" * len(names) + "}",
        r"\toprule",
        rf"Win rate over {latex_text(system_name(settings.b))} (\%) & {' & '.join(names)} \\",
        r"\midrule",
    ]
    for system in settings.a:
        row = []
        for criterion in settings.criteria:
            share = cells[system, criterion]
            known = share.low is not None and share.high is not None
            half = rf" {{\scriptsize $\pm$ {50 * (share.high - share.low):.2f}}}" if known else ""  # type: ignore[operator]
            row.append("--" if share.value is None else f"{100 * share.value:.2f}{half}")
        lines.append(rf"{latex_text(system_name(system))} & {' & '.join(row)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])
