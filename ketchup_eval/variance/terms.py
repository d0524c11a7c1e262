"""Returns as sums of terms: how many there are, and what variance they would have if they were independent.

Every row that is linear in the terms of LLMR's return is Ĝ_0 = Σ_i c_i x_i with x_0 = q_0 and x_i = A_i; what a term
counts, c_i, may depend on the length of the rollout. Under Theorem 1, where terms are independent and alike, the
variance is that of one term times Σ c_i², which for a K-step return is the number of terms that it keeps.
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ketchup.estimators import Estimator, Numbers
from ketchup.maths.masked import masked_mean, masked_var


class Terms:
    """What the terms of one row count, by the number n of actions that follow; kept as they are asked for.

    Masks are [I, N, T].
    """

    def __init__(self, row: Estimator) -> None:
        assert row.coefficients is not None
        self._coefficients = row.coefficients
        self._known: list[Tensor] = []

    def _up_to(self, length: int) -> list[Tensor]:
        """The coefficients of returns with 1, 2, ... `length` actions left, the own one among them."""
        self._known += [self._coefficients(n) for n in range(len(self._known), length)]
        return self._known[:length]

    def of_first_returns(self, mask: Tensor) -> Tensor:
        """c_i of Ĝ_0 for each rollout, [I, N, T]; 0 past its end."""
        lengths = mask.sum(2)
        occurring, place = lengths.unique(return_inverse=True)
        known = self._up_to(mask.shape[2])
        rows = [known[n - 1] if n else torch.zeros(1, dtype=torch.float64) for n in occurring.tolist()]
        table = pad_sequence([*rows, torch.zeros(mask.shape[2], dtype=torch.float64)], batch_first=True)
        return table[place]

    def mean_number(self, mask: Tensor) -> Tensor:
        """Mean of Σ c_i² over the rollouts of each input, [I]."""
        numbers = torch.stack([c.square().sum() for c in self._up_to(mask.shape[2])])
        lengths = mask.sum(2)
        return masked_mean(numbers[(lengths - 1).clamp(min=0)], lengths > 0, dim=1)

    def full_returns(self, mask: Tensor) -> Tensor:
        """Number of actions [I] whose Ĝ_t is the full return, term by term."""
        same = torch.stack([(c == 1).all() for c in self._up_to(mask.shape[2])]).double()
        return mask.sum(1).double() @ same  # each rollout with an action n has one return with n actions left


def independent_part(numbers: Numbers, terms: Terms) -> Tensor:
    """Σ Var of the terms of Ĝ_0, [I]: c_0 q_0 first, then the advantages.

    Rollouts of one input differ in length. With A_t = 0 after the end, and at positions Ĝ_0 skips, Ĝ_0 is a sum of T
    terms in every rollout, and its variance exactly their variances plus twice their covariances. A varying length
    thus shows in the variance of the later terms, and in their covariance, since they end together.
    """
    mask = numbers.mask.view(-1, numbers.samples, numbers.mask.shape[1])
    parts = torch.cat([numbers.q[:, :1], numbers.advantages[:, 1:]], dim=1).view_as(mask)
    present = mask[:, :, :1].expand_as(mask)
    kept = torch.where(mask, terms.of_first_returns(mask) * parts, 0)
    return masked_var(kept, present, dim=1).sum(1)
