"""Which constant per state the teacher's logits carry.

A softmax does not see a constant c(s) added to all logits of a state, so logits are action values only up to that
constant: a gauge. Ĝ_t shifts by exactly c(s_t), for every K and both tails, because the constants of later states
cancel in their advantages. The expected policy gradient does not move (c(s_t) is a state baseline); the variance of
Ĝ_t over rollouts does for t > 0, where rollouts are in different states, and does not for t = 0, where they share s_0.
"""

from typing import get_args

from torch import Tensor

from ketchup.choices import Gauge


def gauge_constant(mean: Tensor | None, logsumexp: Tensor | None, gauge: Gauge) -> Tensor | None:
    """What a gauge subtracts from all logits of a state, in nats and of the shape of `mean`; `None` for nothing.

    * `raw`: nothing, the logits as the teacher emits them (the paper).
    * `centered`: `mean`, the mean of the state's logits over the vocabulary (LLMR's published code). It depends on
      which rows the vocabulary has, so rows that only pad the embedding matrix must be cut before the mean.
    * `logprob`: `logsumexp`, so that q_t becomes the teacher's log-probability of the action.

    `mean` and `logsumexp` are those of `divergences.token_statistics`; what a gauge does not use may be `None`.
    Raises `ValueError` for an unknown gauge.
    """
    if gauge not in get_args(Gauge):
        raise ValueError(f"the gauge is 'raw', 'centered' or 'logprob', not {gauge!r}")
    return {"raw": None, "centered": mean, "logprob": logsumexp}[gauge]
