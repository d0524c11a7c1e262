"""`discount:γ`: the further a later advantage, the less it counts.

The same as generalised advantage estimation with λ = γ and the critic v (Schulman et al., 2016): the error of v at one
step is r_t + v_{t+1} - v_t = A_t.
"""

import torch
from torch import Tensor

from ketchup import checks
from ketchup.estimators.base import Estimator, text_of
from ketchup.estimators.objectives import EXPECTED_RETURN


def build(gamma: float) -> Estimator:
    """`gamma` is the weight of the next step in units of this one's, from 0 to 1."""
    checks.share("The γ of discount", gamma)
    return Estimator(
        f"discount:{text_of(gamma)}",
        lambda n: n.q + discounted(n.advantages, gamma),
        EXPECTED_RETURN,
        unbiased=gamma == 1,
        needs=EXPECTED_RETURN.needs,
        coefficients=lambda n: powers(gamma, n),
    )


def discounted(later: Tensor, gamma: float) -> Tensor:
    """Σ_{i>t} γ^(i-t) x_i of `later[R, T]`, which is 0 in padding."""
    sums = torch.zeros_like(later)
    for t in range(later.shape[1] - 2, -1, -1):
        sums[:, t] = gamma * (later[:, t + 1] + sums[:, t + 1])
    return sums


def powers(gamma: float, n: int) -> Tensor:
    """1, γ, ..., γ^n."""
    return gamma ** torch.arange(n + 1, dtype=torch.float64)
