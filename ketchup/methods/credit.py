"""Credit: how much each action of a rollout is worth, the weight w_t of the policy gradient (Algorithm 1).

    w_t = clip(Ĝ_t - b, ±100)

with an estimate Ĝ_t of the return in a gauge, and a baseline b. All of it is a function of a few numbers per action.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ketchup import checks
from ketchup.choices import Clip, Gauge, Truncation
from ketchup.errors import UsageError
from ketchup.estimators import Baseline, Estimator, Numbers
from ketchup.estimators.baselines import none

if TYPE_CHECKING:
    from torch import Tensor

    from ketchup.maths.baselines import Total
    from ketchup.models.scoring import StudentValues, TeacherValues

CLIP_RANGE = 100.0


@dataclass(frozen=True)
class Credit:
    """The choices that make a return estimate into a weight.

    `clip` says what is held within ±`clip_range`: the `return` after the baseline, every reward of a `step` before
    they are summed, or `none`. `truncation` says what a rollout without eos is worth: `terminal` takes its last
    action for the end (v_L = 0, Algorithm 1), `drop` gives it no weight and no share in any mean.
    """

    estimator: Estimator
    baseline: Baseline = field(default_factory=none)
    gauge: Gauge = "raw"
    clip: Clip = "return"
    clip_range: float = CLIP_RANGE
    truncation: Truncation = "terminal"

    def __post_init__(self) -> None:
        checks.finite("--clip-range", self.clip_range, above=0, because=" (--clip none clips nothing)")
        if self.clip == "none" and self.clip_range != CLIP_RANGE:
            raise UsageError(f"--clip none clips nothing, so leave out --clip-range {self.clip_range:g}.")
        if self.clip == "step" and self.estimator.clipped is None:
            raise UsageError(
                f"--clip step holds the rewards that llmr and k-step sum up; {self.estimator.name} has none, so use "
                "--clip return or none."
            )

    @property
    def needs_student(self) -> bool:
        """Whether the student's probabilities enter, which costs a forward pass of it."""
        from ketchup.models.scoring import StudentValues

        return bool((self.estimator.needs | self.baseline.needs) & set(StudentValues.__dataclass_fields__))


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
    samples: int,
    total: Total,
) -> Weights:
    """Weights of all actions of a batch of rollouts, `actions[R, T]` and `ended[R]`; `total` sums over processes.

    The `samples` rollouts of an input are neighbours. What the calculator writes is no action: the action after it is
    *one* step ahead of the one before it.
    """
    numbers = Numbers.of(actions, samples, **vars(teacher), **(vars(student) if student else {}))
    if credit.truncation == "drop":
        numbers = numbers.without(~ended)
    returns = credit.estimator.returns(numbers, credit.gauge)
    seen = credit.estimator.seen(numbers, credit.gauge)
    if credit.clip == "step":
        assert credit.estimator.clipped is not None
        held = credit.estimator.clipped(seen, credit.clip_range)
        free = credit.estimator.clipped(seen, math.inf)
        weights = credit.baseline.weights(held, seen, credit.estimator.objective, total)
        return Weights(weights, free, numbers.mask & (held != free), numbers.mask)
    weights = credit.baseline.weights(returns, seen, credit.estimator.objective, total)
    limit = credit.clip_range if credit.clip == "return" else math.inf
    return Weights(weights.clamp(-limit, limit), returns, weights.abs() > limit, numbers.mask)
