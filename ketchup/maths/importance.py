"""Rollouts that were drawn from one distribution and are scored under another, which an engine's precision makes of it.

μ is what the engine drew from, π what is scored; both are known of each action that was drawn. A mean over draws of μ
estimates an expectation under π when each rollout counts as the ratio of its probabilities,

    w = Π_t π(a_t | s_t) / μ(a_t | s_t)

over its actions: what a calculator writes has the chance 1 under both. The ratio is the rollout's and not the action's,
since the states of an action were drawn from μ too: with a ratio of its own, an action would be right only in states
that come as often under π. Ratios are held at √n for a mean over n rollouts, which costs a bias that vanishes with n
and leaves a bounded variance (Ionides, 2008, "Truncated importance sampling").
"""

import math

import torch
from torch import Tensor

LEAST_SHARE = 0.95
"""Effective share of rollouts below which a mismatch is worth a warning.

A mean over draws of μ is off by a covariance, E_μ[x] - E_π[x] = -Cov_μ(w, x), of at most √(1/s - 1) standard deviations
of x (Cauchy and Schwarz; Var_μ(w) = 1/s - 1, s being the effective share). Squared, that is 5% of the variance of a
single rollout's x at s = 0.95: the squared error of one sample, variance + bias², is then off by a twentieth at most.
"""


def log_ratios(log_prob: Tensor, sampler_log_prob: Tensor, actions: Tensor) -> Tensor:
    """log w [R] of rollouts, from log π and log μ [R, T] of their `actions[R, T]`, in nats."""
    return torch.where(actions, log_prob - sampler_log_prob, 0).sum(-1)


def divergence(log_prob: Tensor, sampler_log_prob: Tensor) -> Tensor:
    """π/μ - 1 - log(π/μ) of each action, in nats: never negative, and KL(μ ‖ π) of a state in expectation under μ."""
    log_ratio = log_prob - sampler_log_prob
    return log_ratio.expm1() - log_ratio


def truncated_ratios(log_ratios: Tensor, n: int) -> Tensor:
    """min(w, √n) of each rollout, from log w, for a mean over `n` of them."""
    return log_ratios.clamp(max=math.log(n) / 2).exp()


def effective_share(log_ratios: Tensor) -> Tensor:
    """(Σ w)² / n Σ w² over the last axis, from log w: so large a share of as many draws of π would be as certain."""
    n = log_ratios.shape[-1]
    return (2 * log_ratios.logsumexp(-1) - (2 * log_ratios).logsumexp(-1)).exp() / n
