"""Returns as sums of terms: how many there are, and what variance they would have if they were independent.

Every row that is linear in the terms of LLMR's return is Ĝ_0 = Σ_i c_i x_i with x_0 = q_0 and x_i = A_i; what a term
counts, c_i, may depend on the length of the rollout. Under Theorem 1, where terms are independent and alike, the
variance is that of one term times Σ c_i², which for a K-step return is the number of terms that it keeps.
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ketchup.estimators import Estimator
from ketchup.maths.masked import masked_mean


class Terms:
    """What the terms of one row count, by the number n of actions that follow; kept as they are asked for."""

    def __init__(self, row: Estimator) -> None:
        assert row.coefficients is not None
        self._coefficients = row.coefficients
        self._known: list[Tensor] = []
        self._numbers = torch.zeros(0, dtype=torch.float64)
        self._full = torch.zeros(0, dtype=torch.float64)

    def _up_to(self, length: int) -> None:
        """Learns the coefficients of returns with up to `length` actions left, the own one among them."""
        new = [self._coefficients(n) for n in range(len(self._known), length)]
        if new:
            self._known += new
            self._numbers = torch.cat([self._numbers, torch.stack([c.square().sum() for c in new])])
            self._full = torch.cat([self._full, torch.stack([(c == 1).all() for c in new]).double()])

    def of_first_returns(self, lengths: Tensor, width: int) -> Tensor:
        """c_i of Ĝ_0 of rollouts of `lengths` [I, N], as [I, N, width]; 0 past the end."""
        self._up_to(width)
        occurring, place = lengths.unique(return_inverse=True)
        rows = [self._known[n - 1] if n else torch.zeros(1, dtype=torch.float64) for n in occurring.tolist()]
        table = pad_sequence([*rows, torch.zeros(width, dtype=torch.float64)], batch_first=True)
        return table.index_select(0, place.flatten()).view(*lengths.shape, width)

    def mean_number(self, lengths: Tensor, weights: Tensor) -> Tensor:
        """Mean of Σ c_i² over the rollouts of each input, [I], `lengths` and `weights` being [I, N]."""
        self._up_to(int(lengths.max()))
        return masked_mean(self._numbers[(lengths - 1).clamp(min=0)], lengths > 0, 1, weights)

    def full_returns(self, alive: Tensor) -> Tensor:
        """Number of actions [I] whose Ĝ_t is the full return, term by term; `alive` [I, T] rollouts reach action t.

        Where rollouts have weights, `alive` adds them up.
        """
        self._up_to(alive.shape[1])
        return alive.double() @ self._full[: alive.shape[1]]  # a rollout with an action n has a return with n to go
