"""`n-step:n`: the next n advantages, then the teacher's value v for what follows (Sutton, 1988).

What is called an n-step return elsewhere. The paper's K-step return differs: it jumps K actions at a time, to the end.
"""

from ketchup import checks, maths
from ketchup.estimators.base import Estimator
from ketchup.estimators.objectives import EXPECTED_RETURN


def build(n: int) -> Estimator:
    """`n` advantages count, the action's own among them."""
    checks.whole("The n of n-step", n, most=checks.LONGEST)
    return Estimator(
        f"n-step:{n}",
        lambda numbers: numbers.q + maths.distances.next_sums(numbers.advantages, n - 1),
        EXPECTED_RETURN,
        unbiased=False,
        needs=EXPECTED_RETURN.needs,
        coefficients=lambda following: maths.distances.nearest(n, following),
    )
