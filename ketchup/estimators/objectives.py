"""The objectives whose gradients the estimators are estimates for."""

from ketchup.estimators.base import Objective

EXPECTED_RETURN = Objective("expected-return", lambda n: n.q, lambda n: n.advantages, frozenset({"q", "v"}))
"""J = E[G_0]: the teacher's Bellman rewards, G_t = q_t + Σ_{i>t} A_i (Eqs. 3 and 10)."""
