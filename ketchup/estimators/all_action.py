"""`all-action:c`: what an action is worth at once in expectation over the vocabulary, the future at weight c.

Σ_a ∇π(a | s_t) q(s_t, a) takes the place of q_t ∇ log π(a_t | s_t), for which the teacher's and the student's logits of
the state are needed again; w_t is what is left, c Σ_{i>t} A_i (Petit et al., 2019). c = 1 is unbiased.
"""

import torch

from ketchup import checks
from ketchup.estimators.base import Estimator, text_of
from ketchup.estimators.objectives import EXPECTED_RETURN
from ketchup.maths.returns import later_sums


def build(c: float = 1.0) -> Estimator:
    """`c` is the weight of the future, from 0 to 1."""
    checks.share("The c of all-action", c)
    return Estimator(
        f"all-action:{text_of(c)}",
        lambda n: c * later_sums(n.advantages),
        EXPECTED_RETURN,
        unbiased=c == 1,
        needs=EXPECTED_RETURN.needs,
        coefficients=lambda n: torch.tensor([0.0] + [c] * n, dtype=torch.float64),
        all_actions=True,
    )
