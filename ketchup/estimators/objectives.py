"""The objectives whose gradients the estimators are estimates for, all in nats.

A = q - v is the teacher's hard advantage, ℓ = q - logsumexp its log-probability of the action, λ = log π that of the
distribution that was sampled, Ē = Σ_a π(a) q(a), H the student's entropy.
"""

from typing import TYPE_CHECKING

from ketchup.estimators.base import Objective
from ketchup.estimators.numbers import Numbers, known

if TYPE_CHECKING:
    from torch import Tensor


def _log_p(n: Numbers) -> "Tensor":
    return n.q - known(n.logsumexp)


def _own_log_p(n: Numbers) -> "Tensor":
    return known(n.own_value) - known(n.logsumexp)


def _log_ratio(n: Numbers) -> "Tensor":
    return _log_p(n) - known(n.log_prob)


def _own_log_ratio(n: Numbers) -> "Tensor":
    return _own_log_p(n) + known(n.entropy)


def _own_value(n: Numbers) -> "Tensor":
    return known(n.own_value)


def _zero(n: Numbers) -> "Tensor":
    return n.q.new_zeros(n.q.shape)


EXPECTED_RETURN = Objective("expected-return", lambda n: n.q, lambda n: n.advantages, _own_value, frozenset({"q", "v"}))
"""J = E[G_0]: the teacher's Bellman rewards, G_t = q_t + Σ_{i>t} A_i (Eqs. 3 and 10)."""

LOG_LIKELIHOOD = Objective("log-likelihood", _log_p, _log_p, _own_log_p, frozenset({"q", "logsumexp"}))
"""E[log p(y)]: what the teacher thinks of the whole output, Σ_{i≥t} ℓ_i."""

SEQUENCE_KL = Objective(
    "sequence-kl", _log_ratio, _log_ratio, _own_log_ratio, frozenset({"q", "logsumexp", "log_prob"})
)
"""-KL(π‖p) of whole outputs, Σ_{i≥t} (ℓ_i - λ_i) (MiniLLM)."""

STATE_KL = Objective("state-kl", _log_ratio, _zero, _own_log_ratio, frozenset({"q", "logsumexp", "log_prob"}))
"""-Σ_t KL(π‖p) of the states as they come, ℓ_t - λ_t: no gradient through where the student leads itself."""

NOTHING = Objective("none", _zero, _zero, _own_value, frozenset())
"""No objective: the expected gradient is 0."""
