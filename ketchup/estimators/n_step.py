"""`n-step:n`: the next n advantages, then the teacher's value v for what follows (Sutton, 1988).

What is called an n-step return elsewhere. The paper's K-step return differs: it jumps K actions at a time, to the end.
"""

import torch
from torch import Tensor

from ketchup import checks
from ketchup.estimators.base import Estimator
from ketchup.estimators.objectives import EXPECTED_RETURN
from ketchup.maths.returns import later_sums


def build(n: int) -> Estimator:
    """`n` advantages count, the action's own among them."""
    checks.whole("The n of n-step", n, most=checks.LONGEST)
    return Estimator(
        f"n-step:{n}",
        lambda numbers: numbers.q + _next(numbers.advantages, n - 1),
        EXPECTED_RETURN,
        unbiased=False,
        needs=EXPECTED_RETURN.needs,
        coefficients=lambda following: (torch.arange(following + 1) < n).double(),
    )


def _next(later: Tensor, count: int) -> Tensor:
    """Σ x_i over the `count` actions after t, of `later[R, T]`, which is 0 in padding."""
    sums = later_sums(later)
    beyond = torch.zeros_like(sums)
    if count < sums.shape[1]:
        beyond[:, : sums.shape[1] - count] = sums[:, count:]
    return sums - beyond
