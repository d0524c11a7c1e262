"""`expected-future`: each later advantage in expectation over the student's choice there, Ē_i - v_i (Rao-Blackwell).

E[A_i | s_i] = Ē_i - v_i, and the score of an earlier action knows no more of a_i than s_i does, so no bias comes in.
"""

from typing import TYPE_CHECKING

from ketchup import maths
from ketchup.estimators.base import Estimator
from ketchup.estimators.numbers import Numbers, known
from ketchup.estimators.objectives import EXPECTED_RETURN

if TYPE_CHECKING:
    from torch import Tensor


def build() -> Estimator:
    """No parameters."""
    return Estimator(
        "expected-future",
        lambda n: n.q + maths.returns.later_sums(_expected_advantages(n)),
        EXPECTED_RETURN,
        unbiased=True,
        needs=EXPECTED_RETURN.needs | {"own_value"},
    )


def _expected_advantages(n: Numbers) -> "Tensor":
    return (known(n.own_value) - n.v).where(n.mask, 0)
