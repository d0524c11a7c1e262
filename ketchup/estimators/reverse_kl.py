"""`reverse-kl:γ`: Σ_{i≥t} γ^(i-t) (ℓ_i - λ_i), from each state's own KL(π‖p) to that of whole outputs.

γ = 0 takes states as they come, which is on-policy distillation as it is mostly done (Agarwal et al., 2024); γ = 1 is
the sequence's (MiniLLM: Gu et al., 2024). What is between has a bias for either.
"""

from typing import TYPE_CHECKING

from ketchup import checks, maths
from ketchup.estimators.base import Estimator, text_of
from ketchup.estimators.numbers import Numbers
from ketchup.estimators.objectives import SEQUENCE_KL, STATE_KL

if TYPE_CHECKING:
    from torch import Tensor


def build(gamma: float) -> Estimator:
    """`gamma` is the weight of the next step in units of this one's, from 0 to 1."""
    checks.share("The γ of reverse-kl", gamma)
    return Estimator(
        f"reverse-kl:{text_of(gamma)}",
        lambda n: _returns(n, gamma),
        SEQUENCE_KL if gamma > 0 else STATE_KL,
        unbiased=gamma in (0, 1),
        needs=SEQUENCE_KL.needs,
        coefficients=lambda n: maths.distances.powers(gamma, n),
        gauge="logprob",
    )


def _returns(n: Numbers, gamma: float) -> "Tensor":
    terms = SEQUENCE_KL.first(n)
    return terms + maths.distances.discounted_sums(terms.where(n.mask, 0), gamma)
