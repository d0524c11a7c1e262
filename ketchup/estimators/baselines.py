"""The baselines of the table: means over the batch, and what a state is worth by itself."""

from torch import Tensor

from ketchup.estimators.base import Baseline
from ketchup.estimators.numbers import Numbers
from ketchup.maths.baselines import (
    Total,
    mean_baseline,
    mean_per_step_baseline,
    min_variance_baseline,
    score_norms,
)


def none() -> Baseline:
    """Returns as they are."""
    return Baseline("none", lambda returns, _numbers, _total: returns, unbiased=True)


def mean() -> Baseline:
    """Minus the mean return over the batch's actions."""
    return Baseline("mean", lambda returns, n, total: returns - mean_baseline(returns, n.mask, total), unbiased=False)


def mean_per_step() -> Baseline:
    """Minus the mean return over the batch's rollouts that have an action t."""
    return Baseline(
        "mean-per-step",
        lambda returns, n, total: returns - mean_per_step_baseline(returns, n.mask, total),
        unbiased=False,
    )


def min_variance() -> Baseline:
    """Minus the mean return over the batch's actions, weighed by the squared norm of their score."""
    return Baseline("min-variance", _min_variance, unbiased=False, needs=frozenset({"log_prob", "collision"}))


def teacher_value() -> Baseline:
    """Minus v_t, what the state is worth to the teacher."""
    return Baseline("teacher-value", lambda returns, n, _total: returns - n.v, unbiased=True, needs=frozenset({"v"}))


def _min_variance(returns: Tensor, numbers: Numbers, total: Total) -> Tensor:
    assert numbers.log_prob is not None
    assert numbers.collision is not None
    norms = score_norms(numbers.log_prob, numbers.collision)
    return returns - min_variance_baseline(returns, numbers.mask, norms, total)
