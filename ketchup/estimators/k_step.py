"""K-step returns (Fan et al., 2026): q_t and every K-th later advantage, with either tail (Eq. 7, Algorithm 1)."""

from functools import partial
from typing import TYPE_CHECKING

from ketchup import checks, maths
from ketchup.choices import Tail
from ketchup.estimators.base import Estimator
from ketchup.estimators.numbers import Numbers
from ketchup.estimators.objectives import EXPECTED_RETURN

if TYPE_CHECKING:
    from torch import Tensor


def build(k: int, tail: Tail = "segment") -> Estimator:
    """`k` actions make a step; `tail` says what becomes of the last few."""
    checks.whole("The K of k-step", k, most=checks.LONGEST)
    return Estimator(
        f"k-step:{k}",
        lambda numbers: maths.returns.k_step_returns(numbers.q, numbers.v, numbers.mask, k, tail),
        EXPECTED_RETURN,
        unbiased=k == 1,
        needs=EXPECTED_RETURN.needs,
        coefficients=lambda n: maths.distances.steps(k, tail, n),
        clipped=partial(clipped_returns, k=k, tail=tail),
        k=k,
        tail=tail,
    )


def clipped_returns(numbers: Numbers, limit: float, k: int, tail: Tail) -> "Tensor":
    """K-step returns whose every step reward is first held within ± `limit`."""
    return maths.returns.clipped_step_returns(numbers.q, numbers.v, numbers.mask, k, tail, limit)
