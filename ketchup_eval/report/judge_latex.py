"""A judge's win rates in LaTeX, in the shape of the paper's Table 2: a row a system, a column a criterion."""

from ketchup.texts import latex_text, one_line
from ketchup_eval.judge.results import JudgeResult
from ketchup_eval.report.judge_table import system_name


def judge_latex(result: JudgeResult) -> str:
    """A `tabular` (booktabs) of win rates in per cent with their intervals; signatures as comments."""
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
            share = cells[system, criterion].scaled(100)
            text = "--" if share.value is None else f"{share.value:.2f}"
            if share.low is not None and share.high is not None:
                text += rf" {{\scriptsize [{share.low:.2f}, {share.high:.2f}]}}"
            row.append(text)
        lines.append(rf"{latex_text(system_name(system))} & {' & '.join(row)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])
