"""What an estimator and a baseline are: from the stored numbers of rollouts to the weights of a policy gradient."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ketchup.estimators.numbers import Numbers
from ketchup.maths.baselines import Total
from ketchup.maths.gauges import Gauge
from ketchup.maths.returns import later_sums


@dataclass(frozen=True)
class Objective:
    """What a student's rollouts are to gain, in nats: a first term of each action, and what it adds to all before it.

    The return of an action is Ĝ_t = first_t + Σ_{i>t} later_i, and the gradient of the objective is
    E[Σ_t Ĝ_t ∇ log π(a_t | s_t)]. Both terms are [R, T].
    """

    name: str
    first: Callable[[Numbers], Tensor]
    later: Callable[[Numbers], Tensor]
    needs: frozenset[str]

    def returns(self, numbers: Numbers) -> Tensor:
        """The full return of each action, [R, T], 0 in padding."""
        later = torch.where(numbers.mask, self.later(numbers), 0)
        return torch.where(numbers.mask, self.first(numbers), 0) + later_sums(later)


@dataclass(frozen=True)
class Estimator:
    """One row: an estimate of the return of each action, w_t in E[Σ_t w_t ∇ log π(a_t | s_t)].

    `name` is how the row is written with its parameters; `marks` are said beside it wherever a number is shown.
    `unbiased` says whether its expected gradient is that of its `objective`. `needs` names the numbers it looks at.
    """

    name: str
    formula: Callable[[Numbers], Tensor]
    objective: Objective
    unbiased: bool
    needs: frozenset[str]
    coefficients: Callable[[int], Tensor] | None = None
    """For a row that is linear in the terms of G_t, what each counts: [n + 1] where n actions follow a_t."""
    clipped: Callable[[Numbers, float], Tensor] | None = None
    """The same return with every reward held within ± a limit, for a row that is a sum of rewards."""
    marks: tuple[str, ...] = ()
    gauge: Gauge | None = None
    """The only one that the row is defined in; `None`: any."""

    def returns(self, numbers: Numbers, gauge: Gauge) -> Tensor:
        """The estimate [R, T] in nats, 0 in padding, before any baseline; `DataError` where a number is lacking."""
        numbers.check(self.needs, self.name)
        return torch.where(numbers.mask, self.formula(self.seen(numbers, gauge)), 0)

    def seen(self, numbers: Numbers, gauge: Gauge) -> Numbers:
        """The numbers in the row's own gauge, or else in the one given."""
        return numbers.in_gauge(self.gauge or gauge)

    def signature(self, gauge: Gauge) -> str:
        """The row with all that its numbers depend on: `k-step:4|tail:one-step|gauge:raw`."""
        return "|".join((self.name, *self.marks, f"gauge:{self.gauge or gauge}"))


@dataclass(frozen=True)
class Baseline:
    """What is done to returns to lower the variance of their gradient: `weigh` makes weights [R, T] of them.

    It is given the returns, the numbers that they were made of, in the same gauge, and the sum over processes.
    `unbiased` says whether the expected gradient stays exactly as it is.
    """

    name: str
    weigh: Callable[[Tensor, Numbers, Total], Tensor]
    unbiased: bool
    needs: frozenset[str] = frozenset()

    def weights(self, returns: Tensor, numbers: Numbers, total: Total) -> Tensor:
        """The weights [R, T] of `returns`, 0 in padding; `DataError` where a number is lacking."""
        numbers.check(self.needs, f"the baseline {self.name}")
        return torch.where(numbers.mask, self.weigh(returns, numbers, total), 0)
