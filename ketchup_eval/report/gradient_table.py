"""The gradients of a study in the terminal."""

from ketchup.texts import model_label
from ketchup_eval.report.numbers import interval, percent
from ketchup_eval.report.tables import Table
from ketchup_eval.variance.result import StudentResult, VarianceResult


def gradient_tables(result: VarianceResult) -> list[Table]:
    """A table for each student whose gradients were measured."""
    return [_table(student, _batch(result)) for student in result.students if student.gradient]


def gradient_notes(result: VarianceResult) -> str:
    """What to take, and what the columns mean."""
    lines = []
    for student in result.students:
        if student.gradient is None:
            continue
        advice, name = student.gradient.recommendation, model_label(student.name)
        if advice:
            lines.append(f"{name}: {advice.sentence}{_long_steps(student, advice.best)}")
        else:
            lines.append(
                f"{name}: with {student.gradient.inputs} inputs the gradient of E[G] cannot be told from 0, nor what "
                "points along it; take more inputs."
            )
    gradient = result.analysis.gradient
    assert gradient is not None
    short = {student.gradient.kept for student in result.students if student.gradient and student.gradient.sketched}
    shortened = f", shortened to {max(short):,} numbers" if short else ""
    lines.append(
        f"Gradients by {gradient.where}{shortened}. Cosine: how well the "
        f"mean gradient of {gradient.batch} rollouts points along that of the row's own objective (root-mean-square). "
        "Worth: rollouts of LLMR with its best baseline that point as well as one. Bias: its length by that of the "
        "true gradient. Noise: trace of the covariance over LLMR's without baseline, which scaling changes. Limit: the "
        "cosine without noise. *: points best; =: not told apart from it."
    )
    return "\n".join(lines)


def _batch(result: VarianceResult) -> int:
    assert result.analysis.gradient is not None
    return result.analysis.gradient.batch


def _long_steps(student: StudentResult, best: str) -> str:
    for row in student.estimates:
        share = row.same_as_llmr.value
        if row.k is not None and row.k > 1 and best.startswith(row.estimator) and share is not None and share > 0.5:
            return f" K = {row.k} is long for these outputs: {percent(share)} of its positions are LLMR's."
    return ""


def _table(student: StudentResult, batch: int) -> Table:
    assert student.gradient is not None
    table = Table(title=f"{model_label(student.name)}, gradients of {student.gradient.inputs} inputs")
    for column in ("estimator", "baseline", "objective"):
        table.add_column(column, no_wrap=True)
    for column in (f"cosine at {batch}", "worth", "bias", "noise / LLMR", "limit"):
        table.add_column(column, justify="right", no_wrap=True)
    advice = student.gradient.recommendation
    for row in student.gradient.rows:
        mark = ""
        if advice:
            mark = " *" if row.estimator == advice.best else " =" if row.estimator in advice.undecided else ""
        name = row.estimator.partition("|gauge")[0].replace("|tail", "")
        table.add_row(
            name + mark,
            row.baseline,
            row.objective,
            interval(row.batch_cosine[batch]),
            interval(row.worth),
            interval(row.relative_bias),
            interval(row.noise_ratio),
            interval(row.cosine),
        )
    return table
