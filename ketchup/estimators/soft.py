"""`soft`: the teacher's log-probability of all that follows, Σ_{i≥t} ℓ_i.

G_0 = [lse_0 + Σ ℓ_i] + Σ_{i≥1} (lse_i - v_i): the hard return pays the student the teacher's min-entropy at every later
state as well, so that hard and soft are different objectives.
"""

from ketchup import maths
from ketchup.estimators.base import Estimator
from ketchup.estimators.objectives import LOG_LIKELIHOOD


def build() -> Estimator:
    """No parameters."""
    return Estimator(
        "soft",
        LOG_LIKELIHOOD.returns,
        LOG_LIKELIHOOD,
        unbiased=True,
        needs=LOG_LIKELIHOOD.needs,
        coefficients=lambda n: maths.distances.powers(1.0, n),
        gauge="logprob",
    )
