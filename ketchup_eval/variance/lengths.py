"""How much of the variance of a return is the length of the output."""

import numpy as np

from ketchup_eval.stats.bootstrap import Array


def length_variances(returns: Array, lengths: Array, weights: Array | None = None) -> Array:
    """Variance of G_0 within each input that is linear in the length, and all of it, [I, 2]; nats².

    `returns` and `lengths` are [I, N], a length of 0 marking an absent rollout. Both are unbiased: Σ (G - mean)² /
    (N - 1) less Σ (G - line)² / (N - 2), the line being the one of least squares through the input's N rollouts; where
    rollouts have `weights` [I, N], sums and squares are weighted, and their degrees of freedom are those of that. (The
    squares that a line explains in the very rollouts it was drawn through would be 1 / (N - 1) of all if lengths meant
    nothing, and everything at N = 2.) So the first number of an input may be negative. Where an input's rollouts have
    one length, nothing is explained; an input with fewer than three has neither number.
    """
    present = lengths > 0
    n = present.sum(axis=1)
    w = np.where(present, 1.0 if weights is None else weights, 0.0)
    of_all = w.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        returns, lengths = (
            np.where(present, values - (w * values).sum(axis=1, keepdims=True) / of_all[:, None], 0)
            for values in (returns, lengths)
        )
        squares, spread = (w * returns**2).sum(axis=1), (w * lengths**2).sum(axis=1)
        slope = (w * lengths * returns).sum(axis=1) / spread
        free = of_all - (w**2).sum(axis=1) / of_all
        beside = np.where(
            spread > 0,
            (w * (returns - slope[:, None] * lengths) ** 2).sum(axis=1)
            / (free - (w**2 * lengths**2).sum(axis=1) / spread),
            np.nan,
        )
        total = squares / free
    explained = np.where(spread > 0, total - beside, 0.0)
    return np.where(n[:, None] >= 3, np.stack([explained, total], axis=1), np.nan)
