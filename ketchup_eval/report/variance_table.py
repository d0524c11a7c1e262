"""The study's table in the terminal."""

import math

from ketchup.maths.importance import LEAST_SHARE
from ketchup.texts import model_label
from ketchup_eval.report.numbers import interval, number, percent
from ketchup_eval.report.tables import Table
from ketchup_eval.stats.intervals import ENOUGH
from ketchup_eval.variance.result import StudentResult, VarianceResult
from ketchup_eval.variance.variance_settings import AnalysisSettings

ROUNDING = 1e-4
"""Nats per action below which nothing is said of the engine: float32 adds up to within some 1e-6."""


def variance_tables(result: VarianceResult) -> list[Table]:
    """Per student one table for each tail, a row per K, and one for other estimators; with 95% intervals."""
    tables = []
    for student in result.students:
        tables += [_table(result, student, tail) for tail in result.analysis.tails]
        if any(row.k is None for row in student.estimates):
            tables.append(_others(student))
    return tables


def variance_notes(result: VarianceResult) -> str:
    """What the columns mean and which settings made them."""
    decoding = result.rollouts.decoding
    seconds = result.seconds
    shares = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
    few = "".join(_too_few(student, result.inputs) + "\n" for student in result.students if not student.enough_inputs)
    return (
        f"{result.inputs} inputs x {result.rollouts.samples} samples, at most {decoding.max_new_tokens} tokens, "
        f"temperature {decoding.temperature:g}, gauge {result.analysis.gauge}, seed {result.rollouts.seed}; "
        f"[low, high]: 95% intervals ({result.analysis.intervals.method}).\n"
        "Variance, bias and MSE are those of the return of the whole output (t = 0), in nats² and nats. Theory: number "
        "of terms, as in Theorem 1; independent: each term's own variance; the rest of the measured ratio is "
        "covariance, of which theory.png has the pieces.\n"
        f"{few}"
        f"{''.join(_too_long(student, result.analysis) for student in result.students)}"
        f"{''.join(_sampler(student) for student in result.students)}"
        f"Time: {shares}."
    )


def _too_few(student: StudentResult, inputs: int) -> str:
    """That so skewed a variance needs more inputs, and how many that would be were further ones of the same kind."""
    found = student.concentration
    assert found is not None
    wanted = 10 * math.ceil(inputs * ENOUGH / found.effective / 10)
    return (
        f"{model_label(student.name)}: too few inputs for the skew seen. A tenth of them has "
        f"{percent(found.top_tenth)} of Var[G_0], as if there were {found.effective:.0f} equal inputs; below "
        f"{ENOUGH}, such intervals held the truth in 76% to 97% of cases. Use --limit {wanted} or more."
    )


def _sampler(student: StudentResult) -> str:
    """How far the engine was from what is scored, where that is more than rounding, and what to do if it is much."""
    gap = student.sampler
    if gap is None or gap.mean_absolute.value is None or (gap.mean_absolute.value < ROUNDING and not gap.corrected):
        return ""
    said = (
        f"{model_label(student.name)}: drawn from a distribution that is {interval(gap.mean_absolute)} nats per action "
        f"from the scored one (KL {interval(gap.kl)}); {percent(gap.effective_share.value)} of the rollouts are "
        "effective"
    )
    if gap.corrected:
        return f"{said}, each weighted by its ratio ({percent(gap.truncated.value)} held at the most).\n"
    if gap.small:
        return f"{said}.\n"
    return (
        f"{said}: below {percent(LEAST_SHARE)} this may move an input's mean return by more than a fifth of its "
        "standard deviation. Use --correct-sampler, or an engine of the scored precision.\n"
    )


def _too_long(student: StudentResult, analysis: AnalysisSettings) -> str:
    """That a K reaches past the end of every rollout."""
    beyond = [k for k in analysis.ks if k >= student.longest]
    if not beyond:
        return ""
    become = {"segment": "the first action's own term alone", "one-step": "the full return"}
    what = " and ".join(f"{become[tail]} with tail {tail}" for tail in analysis.tails)
    return (
        f"{model_label(student.name)}: no rollout has more than {student.longest} actions, so that K = "
        f"{', '.join(map(str, beyond))} gives {what}; compare smaller K.\n"
    )


def _table(result: VarianceResult, student: StudentResult, tail: str) -> Table:
    tenth = student.concentration.top_tenth if student.concentration else None
    table = Table(
        title=f"{model_label(student.name)}, tail {tail}\n"
        f"{'KL' if student.kl else 'KL(π‖p)'} to {model_label(result.rollouts.teacher)} "
        f"{interval(student.distance)} nats/token, "
        f"{interval(student.mean_length)} actions\n"
        f"Var[G_0]: {percent(student.length_share.value)} by length, {percent(tenth)} in a tenth of the inputs",
    )
    columns = ("K", "variance", "bias", "variance / K=1", "theory", "independent", "MSE", "same as LLMR")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in student.estimates:
        if row.tail == tail:
            table.add_row(
                str(row.k),
                interval(row.variance),
                interval(row.bias),
                interval(row.variance_ratio),
                number(row.theory_ratio.value),
                number(row.independent_ratio.value),
                interval(row.mse),
                percent(row.same_as_llmr.value),
            )
    return table


def _others(student: StudentResult) -> Table:
    """Rows that are no K-step returns."""
    table = Table(title=f"{model_label(student.name)}, other estimators")
    table.add_column("estimator", no_wrap=True)
    table.add_column("objective", no_wrap=True)
    for column in ("variance", "bias", "variance / K=1", "theory", "MSE"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in student.estimates:
        if row.k is None:
            table.add_row(
                row.estimator.partition("|")[0],
                row.objective,
                interval(row.variance),
                interval(row.bias),
                interval(row.variance_ratio),
                number(row.theory_ratio.value),
                interval(row.mse),
            )
    return table
