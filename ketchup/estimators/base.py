"""What an estimator and a baseline are: from the stored numbers of rollouts to the weights of a policy gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ketchup import maths
from ketchup.choices import Gauge, Tail
from ketchup.errors import DataError, UsageError
from ketchup.estimators.numbers import NUMBERS, Numbers
from ketchup.failing import failing

if TYPE_CHECKING:
    from torch import Tensor

    from ketchup.maths.baselines import Total


@dataclass(frozen=True)
class Objective:
    """What a student's rollouts are to gain, in nats: a first term of each action, and what it adds to all before it.

    The return of an action is G_t = first_t + Σ_{i>t} later_i, and the gradient of the objective is
    E[Σ_t G_t ∇ log π(a_t | s_t)]. `own` is what the first term is in expectation over the action. All are [R, T].
    """

    name: str
    first: Callable[[Numbers], Tensor]
    later: Callable[[Numbers], Tensor]
    own: Callable[[Numbers], Tensor]
    needs: frozenset[str]

    def returns(self, numbers: Numbers) -> Tensor:
        """The full return of each action, [R, T], 0 in padding."""
        later = self.later(numbers).where(numbers.mask, 0)
        return self.first(numbers).where(numbers.mask, 0) + maths.returns.later_sums(later)


@dataclass(frozen=True)
class Estimator:
    """One row: an estimate of the return of each action, w_t in E[Σ_t w_t ∇ log π(a_t | s_t)].

    `name` is how the row is written with its parameters, but for the tail of a K-step return: that is said beside it.
    `unbiased` says whether its expected gradient is that of its `objective`. `needs` names the numbers it looks at.
    """

    name: str
    formula: Callable[[Numbers], Tensor]
    objective: Objective
    unbiased: bool
    needs: frozenset[str]
    coefficients: Callable[[int], Tensor] | None = None
    """For a row that is linear in the terms of its objective's return: what each counts, [n + 1], if n actions follow.

    Their squares add up to the number of terms that Theorem 1 counts, where terms are independent and alike.
    """
    clipped: Callable[[Numbers, float], Tensor] | None = None
    """The same return with every reward held within ± a limit, for a row that is a sum of rewards."""
    k: int | None = None
    tail: Tail | None = None
    gauge: Gauge | None = None
    """The only one that the row is defined in; `None`: any."""
    compares_samples: bool = False
    """Whether other rollouts of the same input enter."""
    all_actions: bool = False
    """Whether the first term is left to Σ_a ∇π(a | s_t) q(s_t, a), which is no multiple of ∇ log π(a_t | s_t)."""

    def __post_init__(self) -> None:
        _check_needs(self.name, self.needs)

    def returns(self, numbers: Numbers, gauge: Gauge) -> Tensor:
        """The estimate [R, T] in nats, 0 in padding, before any baseline; `DataError` where a number is lacking."""
        numbers.check(self.needs, self.name)
        return _checked(f"The estimator {self.name}", lambda: self.formula(self.seen(numbers, gauge)), numbers.mask)

    def target(self, numbers: Numbers, gauge: Gauge) -> Tensor:
        """What `returns` would be without bias, [R, T]: the full return of the objective."""
        seen = self.seen(numbers, gauge)
        full = self.objective.returns(seen)
        return (full - self.objective.first(seen)).where(numbers.mask, 0) if self.all_actions else full

    def seen(self, numbers: Numbers, gauge: Gauge) -> Numbers:
        """The numbers in the row's own gauge, or else in the one given."""
        return numbers.in_gauge(self.gauge or gauge)

    def signature(self, gauge: Gauge) -> str:
        """The row with all that its numbers depend on: `k-step:4|tail:one-step|gauge:raw`."""
        tail = f"|tail:{self.tail}" if self.tail else ""
        return f"{self.name}{tail}|gauge:{self.gauge or gauge}"


@dataclass(frozen=True)
class Baseline:
    """What is done to returns to lower the variance of their gradient: `weigh` makes weights [R, T] of them.

    It is given the returns, the numbers that they were made of, in the same gauge, their objective and the sum over
    processes. `unbiased` says whether the expected gradient stays exactly as it is.
    """

    name: str
    weigh: Callable[[Tensor, Numbers, Objective, Total], Tensor]
    unbiased: bool
    needs: frozenset[str] = frozenset()
    compares_samples: bool = False
    """Whether other rollouts of the same input enter."""

    def __post_init__(self) -> None:
        _check_needs(self.name, self.needs)

    def weights(
        self, returns: Tensor, numbers: Numbers, objective: Objective, total: Total = lambda sums: sums
    ) -> Tensor:
        """The weights [R, T] of `returns`, 0 in padding; `DataError` where a number is lacking.

        `numbers` are those that the row has seen, in its gauge.
        """
        numbers.check(self.needs, f"the baseline {self.name}")
        work = lambda: self.weigh(returns, numbers, objective, total)  # noqa: E731
        return _checked(f"The baseline {self.name}", work, numbers.mask)


def _check_needs(name: str, needs: frozenset[str]) -> None:
    unknown = sorted(set(needs) - set(NUMBERS))
    if unknown:
        raise UsageError(f"{name} needs {', '.join(unknown)}, and the numbers there are: {', '.join(NUMBERS)}.")


def _checked(what: str, work: Callable[[], Tensor], mask: Tensor) -> Tensor:
    """What a row makes of numbers, 0 in padding; a `DataError` where it is not a number for each action."""
    with failing(what):
        found = work()
        shape = tuple(found.shape)
    if shape != tuple(mask.shape):
        raise DataError(f"{what} makes an array {list(shape)}, and {list(mask.shape)} is wanted: one number an action.")
    found = found.where(mask, 0)
    if found.isnan().any():
        raise DataError(f"{what} makes NaN of {int(found.isnan().sum()):,} of {int(mask.sum()):,} actions; mend it.")
    return found


def text_of(parameter: float) -> str:
    """A number as it is written in the name of a row: 1, 0.25."""
    return repr(float(parameter)).removesuffix(".0")
