"""The baselines of the table: means over the batch or the other samples of an input, and what a state is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketchup import maths
from ketchup.estimators.base import Baseline, Objective
from ketchup.estimators.numbers import Numbers, known

if TYPE_CHECKING:
    from torch import Tensor

    from ketchup.maths.baselines import Total


def none() -> Baseline:
    """Returns as they are."""
    return Baseline("none", lambda returns, _n, _o, _t: returns, unbiased=True)


def mean() -> Baseline:
    """Minus the mean return over the batch's actions."""
    return Baseline(
        "mean",
        lambda returns, n, _, total: returns - maths.baselines.mean_baseline(returns, n.mask, total),
        unbiased=False,
    )


def mean_per_step() -> Baseline:
    """Minus the mean return over the batch's rollouts that have an action t."""
    return Baseline(
        "mean-per-step",
        lambda returns, n, _, total: returns - maths.baselines.mean_per_step_baseline(returns, n.mask, total),
        unbiased=False,
    )


def min_variance() -> Baseline:
    """Minus the mean return over the batch's actions, weighed by the squared norm of their score."""
    return Baseline("min-variance", _min_variance, unbiased=False, needs=frozenset({"log_prob", "collision"}))


def teacher_value() -> Baseline:
    """Minus v_t, what the state is worth to the teacher."""
    return Baseline("teacher-value", lambda returns, n, _o, _t: returns - n.v, unbiased=True, needs=frozenset({"v"}))


def own_value() -> Baseline:
    """Minus what the action is worth at once in expectation: Ē_t, or -KL(π‖p) of the state for a KL."""
    return Baseline(
        "own-value",
        lambda returns, n, objective, _: returns - objective.own(n),
        unbiased=True,
        needs=frozenset({"own_value", "entropy"}),
    )


def leave_one_out() -> Baseline:
    """Minus the mean return over all actions of the input's other samples."""
    return Baseline(
        "leave-one-out",
        lambda returns, n, _o, _t: returns - maths.baselines.leave_one_out_baseline(returns, n.mask, n.samples),
        unbiased=True,
        compares_samples=True,
    )


def leave_one_out_per_step() -> Baseline:
    """Minus the mean return of the input's other samples at the same t."""
    return Baseline(
        "leave-one-out-per-step",
        lambda returns, n, _o, _t: (
            returns - maths.baselines.leave_one_out_per_step_baseline(returns, n.mask, n.samples)
        ),
        unbiased=True,
        compares_samples=True,
    )


def grpo() -> Baseline:
    """Standardised over all actions of an input's samples."""
    return Baseline(
        "grpo",
        lambda returns, n, _o, _t: maths.baselines.standardised(returns, n.mask, n.samples),
        unbiased=False,
        compares_samples=True,
    )


def _min_variance(returns: Tensor, n: Numbers, _: Objective, total: Total) -> Tensor:
    norms = maths.baselines.score_norms(known(n.log_prob), known(n.collision))
    return returns - maths.baselines.min_variance_baseline(returns, n.mask, norms, total)


def _leave_one_out_per_step(returns: Tensor, n: Numbers, _o: Objective, _t: Total) -> Tensor:
    return returns - maths.baselines.leave_one_out_per_step_baseline(returns, n.mask, n.samples)
