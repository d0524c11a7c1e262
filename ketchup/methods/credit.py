"""Credit: how much each action of a rollout is worth, the weight w_t of the policy gradient (Algorithm 1).

    w_t = clip(Ĝ_t(K) - b, ±100)

with the K-step return Ĝ_t, its tail and gauge, and the baseline b. All of it is a function of two numbers per action
from one teacher pass, q and v.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ketchup.errors import UsageError
from ketchup.maths.baselines import (
    Baseline,
    mean_baseline,
    mean_per_step_baseline,
    min_variance_baseline,
    score_norms,
)
from ketchup.maths.gauges import Gauge, in_gauge
from ketchup.maths.masked import compact
from ketchup.maths.returns import Tail, clipped_step_returns, k_step_returns
from ketchup.models.scoring import StudentValues, TeacherValues

Clip = Literal["return", "step", "none"]
Truncation = Literal["terminal", "drop"]


@dataclass(frozen=True)
class Credit:
    """The choices that make a return estimate into a weight.

    `clip` says what is held within ±`clip_range`: the `return` after the baseline, every reward of a `step` before
    they are summed, or `none`. `truncation` says what a rollout without eos is worth: `terminal` takes its last
    action for the end (v_L = 0, Algorithm 1), `drop` gives it no weight and no share in any mean.
    """

    k: int
    baseline: Baseline = "none"
    tail: Tail = "one-step"
    gauge: Gauge = "raw"
    clip: Clip = "return"
    clip_range: float = 100.0
    truncation: Truncation = "terminal"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"--k is the number of actions in a step and at least 1, not {self.k}.")
        if not self.clip_range > 0:
            raise UsageError(f"--clip-range must be above 0, not {self.clip_range}.")

    @property
    def needs_student(self) -> bool:
        """Whether the student's probabilities enter, which costs a forward pass of it."""
        return self.baseline == "min-variance"


@dataclass(frozen=True)
class Weights:
    """What `assign` finds, [R, T] with the actions of each row moved to the left, 0 elsewhere.

    `mask` is True at actions that count: those of dropped rows do not. `returns` is Ĝ_t before baseline and clip.
    """

    weights: Tensor
    returns: Tensor
    clipped: Tensor
    mask: Tensor


def assign(
    credit: Credit,
    teacher: TeacherValues,
    student: StudentValues | None,
    actions: Tensor,
    ended: Tensor,
    total: Callable[[Tensor], Tensor],
) -> Weights:
    """Weights of all actions of a batch of rollouts, `actions[R, T]` and `ended[R]`; `total` sums over processes.

    What the calculator writes is no action: the action after it is *one* step ahead of the one before it.
    """
    q, v = in_gauge(teacher.q, teacher.v, teacher.mean, teacher.logsumexp, credit.gauge)
    (q, mask), (v, _) = compact(q, actions), compact(v, actions)
    if credit.truncation == "drop":
        mask = mask & ended[:, None]
    if credit.clip == "step":
        returns = clipped_step_returns(q, v, mask, credit.k, credit.tail, credit.clip_range)
        free = clipped_step_returns(q, v, mask, credit.k, credit.tail, torch.inf)
        weights = returns - _baseline(credit, returns, mask, v, student, actions, total)
        return Weights(torch.where(mask, weights, 0), free, mask & (returns != free), mask)
    returns = k_step_returns(q, v, mask, credit.k, credit.tail)
    weights = torch.where(mask, returns - _baseline(credit, returns, mask, v, student, actions, total), 0)
    limit = credit.clip_range if credit.clip == "return" else torch.inf
    return Weights(weights.clamp(-limit, limit), returns, weights.abs() > limit, mask)


def _baseline(
    credit: Credit,
    returns: Tensor,
    mask: Tensor,
    v: Tensor,
    student: StudentValues | None,
    actions: Tensor,
    total: Callable[[Tensor], Tensor],
) -> Tensor:
    match credit.baseline:
        case "mean":
            return mean_baseline(returns, mask, total)
        case "mean-per-step":
            return mean_per_step_baseline(returns, mask, total)
        case "teacher-value":
            return v
        case "min-variance":
            assert student is not None, "see needs_student"
            norms, _ = compact(score_norms(student.log_prob, student.collision), actions)
            return min_variance_baseline(returns, mask, norms, total)
    return torch.zeros((), dtype=returns.dtype)
