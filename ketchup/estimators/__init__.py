"""Estimators of the return and baselines, one table each. A new one is a function `build`, and a row here.

Training and analysis use the same objects. A row is written as its name and its parameters, `k-step:4:one-step`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from ketchup.errors import UsageError
from ketchup.estimators import (
    all_action,
    baselines,
    discount,
    expected_future,
    k_step,
    llmr,
    n_step,
    placebo,
    reverse_kl,
    shrink,
    soft,
)
from ketchup.estimators.base import Baseline, Estimator, Objective
from ketchup.estimators.numbers import NUMBERS, Numbers
from ketchup.failing import check_builder, failing, made
from ketchup.table import Table

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
    "usage",
]


@dataclass(frozen=True)
class EstimatorRow:
    """`build` makes the estimator of its parameters; `formula` is its w_t, and `source` who had it first.

    `examples` stand for all parameters in tests and in docs/estimators.md.
    """

    build: Callable[..., Estimator]
    formula: str
    source: str
    examples: tuple[str, ...]

    def __post_init__(self) -> None:
        check_builder(self, self.build)


ESTIMATORS: Table[EstimatorRow] = Table(
    EstimatorRow,
    {
        "llmr": EstimatorRow(llmr.build, "q_t + Σ_{i>t} A_i", "LLMR (Li et al., 2024)", ("llmr",)),
        "k-step": EstimatorRow(
            k_step.build,
            "q_t + every K-th later A_i that the tail keeps (Eq. 7, Algorithm 1)",
            "KETCHUP (arXiv 2504.19024)",
            ("k-step:2", "k-step:2:one-step"),
        ),
        "shrink": EstimatorRow(
            shrink.build, "q_t + c Σ_{i>t} A_i", "the control of `k-step`, at c = 1/K", ("shrink:0.25",)
        ),
        "discount": EstimatorRow(
            discount.build,
            "q_t + Σ_{i>t} γ^(i-t) A_i",
            "GAE with λ = γ and the critic v (arXiv 1506.02438)",
            ("discount:0.9",),
        ),
        "n-step": EstimatorRow(n_step.build, "q_t + A_{t+1} + … + A_{t+n-1}", "Sutton (1988)", ("n-step:2",)),
        "expected-future": EstimatorRow(
            expected_future.build, "q_t + Σ_{i>t} (Ē_i - v_i)", "Rao-Blackwell", ("expected-future",)
        ),
        "all-action": EstimatorRow(
            all_action.build,
            "c Σ_{i>t} A_i, and Σ_a ∇π(a) q(a) for the first term",
            "Petit et al. (2019)",
            ("all-action:1", "all-action:0.25"),
        ),
        "soft": EstimatorRow(soft.build, "Σ_{i≥t} ℓ_i", "soft Bellman rewards", ("soft",)),
        "reverse-kl": EstimatorRow(
            reverse_kl.build,
            "Σ_{i≥t} γ^(i-t) (ℓ_i - λ_i)",
            "γ = 1: MiniLLM (arXiv 2306.08543); γ = 0: on-policy distillation (arXiv 2306.13649)",
            ("reverse-kl:0", "reverse-kl:0.5", "reverse-kl:1"),
        ),
        "placebo": EstimatorRow(
            placebo.build,
            "1, or G_t of another rollout of the input",
            "what needs no teacher",
            ("placebo:constant", "placebo:shuffled"),
        ),
    },
)


@dataclass(frozen=True)
class BaselineRow:
    """`build` makes the baseline; `formula` is the weight it makes of a return G_t, and `source` who had it first."""

    build: Callable[[], Baseline]
    formula: str
    source: str

    def __post_init__(self) -> None:
        check_builder(self, self.build)


BASELINES: Table[BaselineRow] = Table(
    BaselineRow,
    {
        "none": BaselineRow(baselines.none, "G_t", ""),
        "mean": BaselineRow(baselines.mean, "G_t - mean over the batch's actions", "compared in the paper"),
        "mean-per-step": BaselineRow(
            baselines.mean_per_step, "G_t - mean over the batch's rollouts that have an action t", ""
        ),
        "min-variance": BaselineRow(
            baselines.min_variance,
            "G_t - mean over the batch's actions, each weighed by ‖∇ log π‖² at the logits",
            "compared in the paper",
        ),
        "teacher-value": BaselineRow(baselines.teacher_value, "G_t - v_t", ""),
        "own-value": BaselineRow(
            baselines.own_value, "G_t - Ē_t; G_t + KL(π‖p) of the state for `reverse-kl`", "arXiv 2605.07865 for the KL"
        ),
        "leave-one-out": BaselineRow(
            baselines.leave_one_out,
            "G_t - mean over all actions of the input's other samples",
            "Kool et al. (2019), arXiv 2402.14740",
        ),
        "leave-one-out-per-step": BaselineRow(
            baselines.leave_one_out_per_step,
            "G_t - mean over the input's other samples that have an action t; where none has, over all their actions",
            "Kool et al. (2019)",
        ),
        "grpo": BaselineRow(
            baselines.grpo,
            "(G_t - mean) / standard deviation, both over all actions of the input's samples",
            "GRPO; its bias: arXiv 2503.20783",
        ),
    },
)


def estimator(text: str) -> Estimator:
    """The estimator that a text such as `k-step:4:one-step` names.

    Raises `UsageError` for an unknown row, a parameter too many or too few, and one that is no value of its kind.
    """
    name, *given = text.split(":")
    if name not in ESTIMATORS:
        raise UsageError(_unknown("estimator", name, {row: usage(row) for row in ESTIMATORS}))
    build, parameters = ESTIMATORS[name].build, _parameters(name)
    wanted = [parameter for parameter in parameters if parameter.default is parameter.empty]
    if not len(wanted) <= len(given) <= len(parameters):
        raise UsageError(f"{text!r} has {len(given)} parameters; it is written {usage(name)}.")
    values = list(map(_value, parameters, given))
    found = made(f"The estimator {name}", Estimator, lambda: build(*values))
    if found.name.partition(":")[0] != name:
        raise UsageError(f"The estimator {name} calls itself {found.name}, as its numbers would be called; mend it.")
    return found


def baseline(name: str) -> Baseline:
    """The named baseline; raises `UsageError` if there is none."""
    if name not in BASELINES:
        raise UsageError(_unknown("baseline", name, {row: row for row in BASELINES}))
    found = made(f"The baseline {name}", Baseline, BASELINES[name].build)
    if found.name != name:
        raise UsageError(f"The baseline {name} calls itself {found.name}, as its numbers would be called; mend it.")
    return found


def usage(name: str) -> str:
    """How a row is written: `k-step:K[:segment|one-step]`."""
    written = name
    for parameter in _parameters(name):
        choices = get_args(parameter.annotation)
        shown = "|".join(choices) if choices else parameter.name.upper()
        written += f":{shown}" if parameter.default is parameter.empty else f"[:{shown}]"
    return written


def _parameters(name: str) -> list[inspect.Parameter]:
    """Those of a row's builder, each with a type that a text can be made into."""
    with failing(f"The signature of the estimator {name}"):
        found = list(inspect.signature(ESTIMATORS[name].build, eval_str=True).parameters.values())
    for parameter in found:
        if parameter.annotation not in (int, float) and get_origin(parameter.annotation) is not Literal:
            raise UsageError(
                f"{parameter.name} of the estimator {name} is no int, float or Literal; write its type beside it."
            )
    return found


def _unknown(what: str, name: str, written: dict[str, str]) -> str:
    close = get_close_matches(name.lower().replace("_", "-"), written, n=1)
    hint = f"did you mean {written[close[0]]}, of" if close else "use one of"
    return f"There is no {what} {name!r}; {hint} {', '.join(written.values())}."


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
