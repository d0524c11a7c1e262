"""Estimators of the return and baselines, one table each. A new one is a function `build`, and a row here.

Training and analysis use the same objects. A row is written as its name and its parameters, `k-step:4:one-step`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from ketchup.errors import UsageError
from ketchup.estimators import baselines, k_step, llmr
from ketchup.estimators.base import Baseline, Estimator, Objective
from ketchup.estimators.numbers import NUMBERS, Numbers

__all__ = [
    "BASELINES",
    "ESTIMATORS",
    "NUMBERS",
    "Baseline",
    "Estimator",
    "Numbers",
    "Objective",
    "baseline",
    "estimator",
]


@dataclass(frozen=True)
class Row:
    """`build` makes the estimator of its parameters; `examples` stand for all of them in tests and documentation."""

    build: Callable[..., Estimator]
    examples: tuple[str, ...]


ESTIMATORS: dict[str, Row] = {
    "llmr": Row(llmr.build, ("llmr",)),
    "k-step": Row(k_step.build, ("k-step:4", "k-step:4:one-step")),
}

BASELINES: dict[str, Callable[[], Baseline]] = {
    "none": baselines.none,
    "mean": baselines.mean,
    "mean-per-step": baselines.mean_per_step,
    "min-variance": baselines.min_variance,
    "teacher-value": baselines.teacher_value,
}


def estimator(text: str) -> Estimator:
    """The estimator that a text such as `k-step:4:one-step` names.

    Raises `UsageError` for an unknown row, a parameter too many or too few, and one that is no value of its kind.
    """
    name, *given = text.split(":")
    if name not in ESTIMATORS:
        raise UsageError(f"There is no estimator {name!r}; use one of {', '.join(map(usage, ESTIMATORS))}.")
    build = ESTIMATORS[name].build
    parameters = list(inspect.signature(build).parameters.values())
    wanted = [parameter for parameter in parameters if parameter.default is parameter.empty]
    if not len(wanted) <= len(given) <= len(parameters):
        raise UsageError(f"{text!r} has {len(given)} parameters; it is written {usage(name)}.")
    return build(*map(_value, parameters, given))


def baseline(name: str) -> Baseline:
    """The named baseline; raises `UsageError` if there is none."""
    if name not in BASELINES:
        raise UsageError(f"There is no baseline {name!r}; use one of {', '.join(BASELINES)}.")
    return BASELINES[name]()


def usage(name: str) -> str:
    """How a row is written: `k-step:K[:segment|one-step]`."""
    written = name
    for parameter in inspect.signature(ESTIMATORS[name].build).parameters.values():
        choices = get_args(parameter.annotation)
        shown = "|".join(choices) if choices else parameter.name.upper()
        written += f":{shown}" if parameter.default is parameter.empty else f"[:{shown}]"
    return written


def _value(parameter: inspect.Parameter, text: str) -> Any:
    kind = parameter.annotation
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise UsageError(f"{parameter.name} is {' or '.join(get_args(kind))}, not {text!r}.")
        return text
    try:
        return kind(text)
    except ValueError as error:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"{parameter.name.upper()} is {what}, not {text!r}.") from error
