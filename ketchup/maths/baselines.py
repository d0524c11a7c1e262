"""Baselines: what is subtracted from a return to lower the variance of a policy gradient.

A number b that does not depend on the action a_t leaves E[(Ĝ_t - b) ∇ log π(a_t | s_t)] as it is, because the expected
score E[∇ log π] is zero. The means over a batch contain the rollout itself, as is usual; that shrinks the expected
gradient by about one part in the number of averaged actions and changes nothing else. Those over the other samples of
an input do not.

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


def leave_one_out_baseline(returns: Tensor, mask: Tensor, samples: int) -> Tensor:
    """The mean return over all actions of the other samples of a rollout's input, [R, 1]; 0 if there are none.

    The `samples` of an input are neighbours. Independent of the rollout itself, so that nothing is added to the
    expected gradient (Kool et al., 2019).
    """
    sums = torch.where(mask, returns, 0).sum(1).view(-1, samples)
    counts = mask.sum(1).view(-1, samples)
    return _ratio(_of_others(sums), _of_others(counts)).view(-1, 1)


def leave_one_out_per_step_baseline(returns: Tensor, mask: Tensor, samples: int) -> Tensor:
    """The same for each t, [R, T]: the mean over the other samples that have an action t.

    Where none has, it is their mean over all actions, which does not depend on the rollout either.
    """
    sums = torch.where(mask, returns, 0).view(-1, samples, mask.shape[1])
    counts = _of_others(mask.long().view_as(sums))
    at_t = _ratio(_of_others(sums), counts).view_as(returns)
    return torch.where(counts.view_as(returns) > 0, at_t, leave_one_out_baseline(returns, mask, samples))


def standardised(returns: Tensor, mask: Tensor, samples: int) -> Tensor:
    """Returns less their mean, over their standard deviation, both over all actions of an input's rollouts; [R, T].

    As in GRPO (Shao et al., 2024). Mean and deviation depend on the rollout itself, so the expected gradient is another
    one: inputs whose returns vary little count as much as those whose returns vary a lot. 0 where nothing varies.
    """
    inside = mask.view(-1, samples * mask.shape[1])
    values = torch.where(mask, returns, 0).view_as(inside)
    count = inside.sum(1, keepdim=True)
    centred = torch.where(inside, values - _ratio(values.sum(1, keepdim=True), count), 0)
    deviation = _ratio(centred.square().sum(1, keepdim=True), count - 1).sqrt()
    rounding = 8 * torch.finfo(returns.dtype).eps * values.abs().amax(1, keepdim=True)
    return _ratio(centred, torch.where(deviation > rounding, deviation, 0)).view_as(returns)


def score_norms(log_prob: Tensor, collision: Tensor) -> Tensor:
    """‖∇_z log π(a)‖² = 1 - 2 π(a) + Σ_b π(b)² of a softmax at its logits z: any shape, from 0 to 2.

    `log_prob` is log π(a) of the action taken, `collision` is Σ_b π(b)², the chance that two draws agree. π is the
    distribution that was sampled, z / τ within the top k; the 1/τ² of its gradient in z drops out of every ratio.
    """
    return 1 - 2 * log_prob.exp() + collision


def _of_others(values: Tensor) -> Tensor:
    """What the samples on axis 1 add up to without each of them."""
    return values.sum(1, keepdim=True) - values


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > 0, above / below.clamp(min=torch.finfo(above.dtype).tiny), 0)
