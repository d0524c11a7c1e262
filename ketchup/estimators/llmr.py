"""LLMR (Li et al., 2024): the full return G_t = q_t + Σ_{i>t} A_i."""

from functools import partial

from ketchup import maths
from ketchup.estimators.base import Estimator
from ketchup.estimators.k_step import clipped_returns
from ketchup.estimators.objectives import EXPECTED_RETURN


def build() -> Estimator:
    """No parameters."""
    return Estimator(
        "llmr",
        EXPECTED_RETURN.returns,
        EXPECTED_RETURN,
        unbiased=True,
        needs=EXPECTED_RETURN.needs,
        coefficients=lambda n: maths.distances.powers(1.0, n),
        clipped=partial(clipped_returns, k=1, tail="one-step"),
    )
