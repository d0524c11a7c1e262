"""`all-action:c`: what an action is worth at once in expectation over the vocabulary, the future at weight c.

Σ_a ∇π(a | s_t) q(s_t, a) takes the place of q_t ∇ log π(a_t | s_t), for which the teacher's and the student's logits of
the state are needed again; w_t is what is left, c Σ_{i>t} A_i (Petit et al., 2019). c = 1 is unbiased.
"""

from ketchup import checks, maths
from ketchup.estimators.base import Estimator, text_of
from ketchup.estimators.objectives import EXPECTED_RETURN


def build(c: float = 1.0) -> Estimator:
    """`c` is the weight of the future, from 0 to 1."""
    checks.share("The c of all-action", c)
    return Estimator(
        f"all-action:{text_of(c)}",
        lambda n: c * maths.returns.later_sums(n.advantages),
        EXPECTED_RETURN,
        unbiased=c == 1,
        needs=EXPECTED_RETURN.needs,
        coefficients=lambda n: maths.distances.alike(0.0, c, n),
        all_actions=True,
    )
