"""A study's numbers as rows of a long table, one number a row."""

from collections.abc import Iterator, Mapping
from typing import Any

from ketchup_eval.stats.bootstrap import Estimate
from ketchup_eval.variance.result import Of, StudentResult, VarianceResult

OF_A_NUMBER = ("value", "low", "high", "n")
RETURN_COLUMNS = ("student", "kl", "estimator", "tail", "k", "quantity", *OF_A_NUMBER)
GRADIENT_COLUMNS = ("student", "kl", "estimator", "baseline", "batch", "quantity", *OF_A_NUMBER)
FrameRow = tuple[Any, ...]


def return_rows(result: VarianceResult) -> Iterator[FrameRow]:
    """The rows of `RETURN_COLUMNS`; `tail` and `k` are `None` where the estimator is no K-step return."""
    for student in result.students:
        for estimate in student.estimates:
            about = (
                student.name,
                student.kl.value if student.kl else None,
                estimate.estimator,
                estimate.tail,
                estimate.k,
            )
            for name, number in vars(estimate).items():
                if isinstance(number, Estimate):
                    yield (*about, name, *_numbers(number))


def gradient_rows(result: VarianceResult) -> Iterator[FrameRow]:
    """The rows of `GRADIENT_COLUMNS`; `batch` is `None` where a quantity is not that of a batch."""
    for student in result.students:
        for row in student.gradient.rows if student.gradient else ():
            about = (student.name, _kl(student), row.estimator, row.baseline)
            for name, value in vars(row).items():
                sizes = value if isinstance(value, Mapping) else {None: value}
                for size, number in sizes.items():
                    if isinstance(number, Estimate):
                        yield (*about, size, name, *_numbers(number))


def frame(result: VarianceResult, of: Of) -> Any:
    """One of both as a pandas frame; absent numbers are NaN, and absent whole ones `pandas.NA`."""
    import pandas as pd  # noqa: PLC0415  (it takes its time, and the tables of the command need none)

    columns, rows, whole = {
        "returns": (RETURN_COLUMNS, return_rows, "k"),
        "gradients": (GRADIENT_COLUMNS, gradient_rows, "batch"),
    }[of]
    found = pd.DataFrame(list(rows(result)), columns=list(columns))
    return found.astype({whole: "Int64", "n": "Int64", **dict.fromkeys(("kl", "value", "low", "high"), "float64")})


def _kl(student: StudentResult) -> float | None:
    return student.kl.value if student.kl else None


def _numbers(estimate: Estimate) -> FrameRow:
    return tuple(getattr(estimate, name) for name in OF_A_NUMBER)
