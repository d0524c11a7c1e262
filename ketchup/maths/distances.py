"""What later actions count by how far ahead they are: the weights c_i of a return, and sums with them.

A return of an action with n actions after it is Σ_i c_i x_i, x_0 being its own term. Weights are float64, [n + 1];
values are [R, T] and must hold 0 in padding.
"""

import torch
from torch import Tensor

from ketchup.choices import Tail
from ketchup.maths.returns import later_sums


def powers(gamma: float, n: int) -> Tensor:
    """1, γ, ..., γ^n."""
    return gamma ** torch.arange(n + 1, dtype=torch.float64)


def alike(own: float, later: float, n: int) -> Tensor:
    """The action's own term at one weight, all later ones at another."""
    return torch.tensor([own] + [later] * n, dtype=torch.float64)


def nearest(count: int, n: int) -> Tensor:
    """1 for the first `count` terms, 0 for what is further ahead."""
    return (torch.arange(n + 1) < count).double()


def steps(k: int, tail: Tail, n: int) -> Tensor:
    """1 for the terms that a K-step return keeps (Eq. 7, Algorithm 1), 0 for those that it jumps over."""
    t = torch.arange(n + 1)
    kept = t % k == 0
    return (kept if tail == "segment" else kept | (t > n - n % k)).double()


def discounted_sums(values: Tensor, gamma: float) -> Tensor:
    """Σ_{i>t} γ^(i-t) x_i, [R, T]."""
    sums = torch.zeros_like(values)
    for t in range(values.shape[1] - 2, -1, -1):
        sums[:, t] = gamma * (values[:, t + 1] + sums[:, t + 1])
    return sums


def next_sums(values: Tensor, count: int) -> Tensor:
    """Σ x_i over the `count` actions after t, [R, T]."""
    sums = later_sums(values)
    beyond = torch.zeros_like(sums)
    if count < sums.shape[1]:
        beyond[:, : sums.shape[1] - count] = sums[:, count:]
    return sums - beyond
