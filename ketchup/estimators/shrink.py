"""`shrink:c`: the whole future at a lower weight, the control of K-step returns.

A K-step return counts every K-th later advantage, so 1/K of the future on average; c = 1/K counts as much of it, with
less variance, as every advantage enters.
"""

from ketchup import checks, maths
from ketchup.estimators.base import Estimator, text_of
from ketchup.estimators.objectives import EXPECTED_RETURN


def build(c: float) -> Estimator:
    """`c` is the weight of the future, from 0 to 1."""
    checks.share("The c of shrink", c)
    return Estimator(
        f"shrink:{text_of(c)}",
        lambda n: n.q + c * maths.returns.later_sums(n.advantages),
        EXPECTED_RETURN,
        unbiased=c == 1,
        needs=EXPECTED_RETURN.needs,
        coefficients=lambda n: maths.distances.alike(1.0, c, n),
    )
