"""Baselines: what is subtracted from a return to lower the variance of a policy gradient.

A number b that does not depend on the action a_t leaves E[(Ĝ_t - b) ∇ log π(a_t | s_t)] as it is, because the expected
score E[∇ log π] is zero. The means below are taken over a batch that contains the rollout itself, as is usual; that
shrinks the expected gradient by about one part in the number of averaged actions and changes nothing else.

Shapes are [R, T] with boolean masks of actions; units are those of the returns (nats). A batch may be spread over
processes: `total` then sums a tensor over all of them, and is the identity where there is only one.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Total = Callable[[Tensor], Tensor]


def mean_baseline(returns: Tensor, mask: Tensor, total: Total) -> Tensor:
    """The mean return over all actions of the batch, a scalar (the paper's "average reward in a batch")."""
    return _ratio(total(torch.where(mask, returns, 0).sum()), total(mask.sum()))


def mean_per_step_baseline(returns: Tensor, mask: Tensor, total: Total) -> Tensor:
    """The mean return over the rollouts of the batch that have an action t, for each t: [T]; 0 where none has."""
    sums, counts = total(torch.where(mask, returns, 0).sum(0)), total(mask.sum(0))
    return _ratio(sums, counts)[: mask.shape[1]]


def min_variance_baseline(returns: Tensor, mask: Tensor, squared_norms: Tensor, total: Total) -> Tensor:
    """E[‖∇ log π‖² Ĝ] / E[‖∇ log π‖²] over the batch's actions: the scalar of least gradient variance.

    `squared_norms[R, T]` are those of `score_norms`. The norm is taken at the logits, which is free, not at the
    weights, which would need a gradient per action; variance is least at the logits then.
    """
    weights = torch.where(mask, squared_norms, 0)
    return _ratio(total((weights * torch.where(mask, returns, 0)).sum()), total(weights.sum()))


def score_norms(log_prob: Tensor, collision: Tensor) -> Tensor:
    """‖∇_z log π(a)‖² = 1 - 2 π(a) + Σ_b π(b)² of a softmax at its logits z: any shape, from 0 to 2.

    `log_prob` is log π(a) of the action taken, `collision` is Σ_b π(b)², the chance that two draws agree. π is the
    distribution that was sampled, z / τ within the top k; the 1/τ² of its gradient in z drops out of every ratio.
    """
    return 1 - 2 * log_prob.exp() + collision


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > 0, above / below.clamp(min=torch.finfo(above.dtype).tiny), 0)
