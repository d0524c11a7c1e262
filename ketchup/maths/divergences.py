"""Per-token quantities that need a whole row of logits.

Everything here reduces the vocabulary axis and nothing else, so a caller may apply it to chunks of tokens and throw
each chunk of logits away: no tensor with both a token axis of full length and a vocabulary axis has to exist.
Logits narrower than float32 are widened first, since sums over 30,000 entries do not survive bfloat16.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class TokenStatistics(NamedTuple):
    """What one teacher pass leaves of each token's logits; all in nats, all of the shape of `actions`.

    `q` is the logit of the action, `v` the largest logit; `mean` and `logsumexp` over the vocabulary are the
    constants of the other two gauges.
    """

    q: Tensor
    v: Tensor
    mean: Tensor
    logsumexp: Tensor


def token_statistics(teacher_logits: Tensor, actions: Tensor) -> TokenStatistics:
    """q(s, a), max_a q(s, a), mean_a q(s, a) and log Σ_a exp q(s, a) from `teacher_logits[..., V]`, `actions[...]`.

    The EOS is an action with a logit like any other. Padding needs a valid token id, and gets numbers without meaning
    that the mask must hide.
    """
    logits = _widened(teacher_logits)
    return TokenStatistics(
        q=logits.gather(-1, actions.unsqueeze(-1)).squeeze(-1),
        v=logits.amax(-1),
        mean=logits.mean(-1),
        logsumexp=logits.logsumexp(-1),
    )


def expected_value(teacher_logits: Tensor, pi: Tensor) -> Tensor:
    """Ē = Σ_a π(a) q(a) per token, of `teacher_logits[..., V]` and probabilities `pi[..., V]`, in nats as q.

    What the state is worth under the student's next action. A token that is never drawn adds 0, though the teacher
    may rule it out (logit -inf).
    """
    return torch.where(pi > 0, pi * _widened(teacher_logits), 0).sum(-1)


def kl(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """Forward KL(p ‖ π) = Σ_a p(a | s) [log p(a | s) - log π(a | s)] per token, over the full vocabulary, in nats.

    `teacher_logits` (p) and `student_logits` (π) are [..., V] with the same vocabulary; the result is [...]. Free of
    the gauge of either. An action the teacher rules out (logit -inf) adds 0, one that only the student rules out
    makes the divergence infinite.
    """
    return _relative_entropy(_log_softmax(teacher_logits), _log_softmax(student_logits))


def reverse_kl(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """Reverse KL(π ‖ p) = Σ_a π(a | s) [log π(a | s) - log p(a | s)] per token, in nats; arguments as `kl`."""
    return _relative_entropy(_log_softmax(student_logits), _log_softmax(teacher_logits))


def total_variation(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """Total variation distance ½ Σ_a |p(a | s) - π(a | s)| per token, from 0 to 1; arguments as `kl`."""
    return (_log_softmax(teacher_logits).exp() - _log_softmax(student_logits).exp()).abs().sum(-1) / 2


def student_to_mixture(teacher_logits: Tensor, student_logits: Tensor, beta: float) -> Tensor:
    """KL(π ‖ m) per token with m = β π + (1 - β) p, in nats: what the JS method asks of student prefixes.

    0 < β < 1; arguments as `kl`. At most log 1/β, since π ≤ m/β. The gradient flows through m as well.
    """
    log_p, log_pi = _log_softmax(teacher_logits), _log_softmax(student_logits)
    return _relative_entropy(log_pi, _log_mixture(log_p, log_pi, beta))


def teacher_to_mixture(teacher_logits: Tensor, student_logits: Tensor, beta: float) -> Tensor:
    """KL(p ‖ m) per token with m = β π + (1 - β) p, in nats: what the JS method asks of teacher prefixes.

    0 < β < 1; arguments as `kl`. At most log 1/(1 - β). The gradient flows through m, where alone the student is.
    """
    log_p, log_pi = _log_softmax(teacher_logits), _log_softmax(student_logits)
    return _relative_entropy(log_p, _log_mixture(log_p, log_pi, beta))


def generalised_jsd(teacher_logits: Tensor, student_logits: Tensor, beta: float) -> Tensor:
    """β KL(p ‖ m) + (1 - β) KL(π ‖ m) with m = β p + (1 - β) π, per token, in nats (GKD: Agarwal et al., 2024, Eq. 1).

    β weighs the *teacher* in m here, as that paper has it, and the student in the two functions above, as f-distill
    has it. 0 < β < 1; divided by β it tends to KL(p ‖ π) for β → 0, divided by 1 - β to KL(π ‖ p) for β → 1.
    """
    log_p, log_pi = _log_softmax(teacher_logits), _log_softmax(student_logits)
    log_m = _log_mixture(log_p, log_pi, 1 - beta)
    return beta * _relative_entropy(log_p, log_m) + (1 - beta) * _relative_entropy(log_pi, log_m)


def _relative_entropy(log_a: Tensor, log_b: Tensor) -> Tensor:
    # Where a = 0 the difference of logarithms may be -inf - (-inf); 0 · log 0 counts as 0.
    gap = torch.where(log_a > -torch.inf, log_a - log_b, 0)
    return (log_a.exp() * gap).sum(-1)


def _log_mixture(log_p: Tensor, log_pi: Tensor, beta: float) -> Tensor:
    return torch.logaddexp(log_pi + math.log(beta), log_p + math.log1p(-beta))


def _log_softmax(logits: Tensor) -> Tensor:
    return F.log_softmax(_widened(logits), dim=-1)


def _widened(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
