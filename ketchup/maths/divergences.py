"""Per-token quantities that need a whole row of logits.

Everything here reduces the vocabulary axis and nothing else, so a caller may apply it to chunks of tokens and throw
each chunk of logits away: no tensor with both a token axis of full length and a vocabulary axis has to exist.
Logits narrower than float32 are widened first, since sums over 30,000 entries do not survive bfloat16.
"""

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


def kl(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
    """Forward KL(p ‖ π) = Σ_a p(a | s) [log p(a | s) - log π(a | s)] per token, over the full vocabulary, in nats.

    `teacher_logits` (p) and `student_logits` (π) are [..., V] with the same vocabulary; the result is [...]. Free of
    the gauge of either. An action the teacher rules out (logit -inf) adds 0, one that only the student rules out
    makes the divergence infinite.
    """
    log_p = F.log_softmax(_widened(teacher_logits), dim=-1)
    log_pi = F.log_softmax(_widened(student_logits), dim=-1)
    # Where p = 0 the difference of logarithms may be -inf - (-inf); 0 · log 0 counts as 0.
    gap = torch.where(log_p > -torch.inf, log_p - log_pi, 0)
    return (log_p.exp() * gap).sum(-1)


def _widened(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
