"""LLMR (Li et al., 2024): the full return G_t = q_t + Σ_{i>t} A_i."""

from functools import partial

import torch

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
        coefficients=lambda n: torch.ones(n + 1, dtype=torch.float64),
        clipped=partial(clipped_returns, k=1, tail="one-step"),
    )
