"""`discount:γ`: the further a later advantage, the less it counts.

The same as generalised advantage estimation with λ = γ and the critic v (Schulman et al., 2016): the error of v at one
step is r_t + v_{t+1} - v_t = A_t.
"""

from ketchup import checks, maths
from ketchup.estimators.base import Estimator, text_of
from ketchup.estimators.objectives import EXPECTED_RETURN


def build(gamma: float) -> Estimator:
    """`gamma` is the weight of the next step in units of this one's, from 0 to 1."""
    checks.share("The γ of discount", gamma)
    return Estimator(
        f"discount:{text_of(gamma)}",
        lambda n: n.q + maths.distances.discounted_sums(n.advantages, gamma),
        EXPECTED_RETURN,
        unbiased=gamma == 1,
        needs=EXPECTED_RETURN.needs,
        coefficients=lambda n: maths.distances.powers(gamma, n),
    )
