"""Which constant per state the teacher's logits carry.

A softmax does not see a constant c(s) added to all logits of a state, so logits are action values only up to that
constant: a gauge. Ĝ_t shifts by exactly c(s_t), for every K and both tails, because the constants of later states
cancel in their advantages. The expected policy gradient does not move (c(s_t) is a state baseline); the variance of
Ĝ_t over rollouts does for t > 0, where rollouts are in different states, and does not for t = 0, where they share s_0.
"""

from typing import Literal, get_args

from torch import Tensor

Gauge = Literal["raw", "centered", "logprob"]


def in_gauge(q: Tensor, v: Tensor, mean: Tensor, logsumexp: Tensor, gauge: Gauge) -> tuple[Tensor, Tensor]:
    """The pair (q, v) with the state's constant chosen; nats, any common shape.

    * `raw`: the logits as the teacher emits them (the paper).
    * `centered`: minus `mean`, the mean of the state's logits over the vocabulary (LLMR's published code). It depends
      on which rows the vocabulary has, so rows that only pad the embedding matrix must be cut before the mean.
    * `logprob`: minus `logsumexp`, which makes q_t the teacher's log-probability of the action.

    `mean` and `logsumexp` are those of `divergences.token_statistics`. Padding holds whatever it held, shifted.
    Raises `ValueError` for an unknown gauge.
    """
    constant = gauge_constant(mean, logsumexp, gauge)
    return (q, v) if constant is None else (q - constant, v - constant)


def gauge_constant(mean: Tensor | None, logsumexp: Tensor | None, gauge: Gauge) -> Tensor | None:
    """What a gauge subtracts from all logits of a state, of the shape of `mean`; `None` where that is nothing.

    Only the constant of the gauge itself must be given. Raises `ValueError` for an unknown gauge.
    """
    if gauge not in get_args(Gauge):
        raise ValueError(f"the gauge is 'raw', 'centered' or 'logprob', not {gauge!r}")
    return {"raw": None, "centered": mean, "logprob": logsumexp}[gauge]
