"""`placebo:constant` and `placebo:shuffled`: weights that know nothing of the rollout, so that their gradient is noise.

What of a training run's success they reach by themselves needs no teacher. `constant` weighs every action by 1;
`shuffled` by the full return of another rollout of the same input at the same position, 0 where that one has ended.
A weight that does not depend on the rollout leaves E[w_t ∇ log π] = 0, whatever the lengths. (Baselines of the other
samples bring a little of it back, as one of those has this rollout's return.)
"""

from typing import TYPE_CHECKING, Literal

from ketchup.estimators.base import Estimator
from ketchup.estimators.numbers import Numbers
from ketchup.estimators.objectives import EXPECTED_RETURN, NOTHING

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["constant", "shuffled"]


def build(kind: Kind) -> Estimator:
    """`kind` says whose weights they are."""
    if kind == "constant":
        return Estimator("placebo:constant", _ones, NOTHING, unbiased=True, needs=frozenset())
    return Estimator(
        "placebo:shuffled",
        _of_the_next_sample,
        NOTHING,
        unbiased=True,
        needs=EXPECTED_RETURN.needs,
        compares_samples=True,
    )


def _ones(n: Numbers) -> "Tensor":
    return n.q.new_ones(n.q.shape)


def _of_the_next_sample(n: Numbers) -> "Tensor":
    returns = EXPECTED_RETURN.returns(n)
    return returns.view(-1, n.samples, returns.shape[1]).roll(1, dims=1).view_as(returns)
