"""What a student's rollout is worth under the teacher: rewards, full returns and K-step returns.

The teacher's logits, read as action values, induce the reward r_t = q_t - v_{t+1} (Eq. 2), with v_L = 0 after the last
action. The rewards telescope, which is all that this module rests on:

    G_t = Σ_{i ≥ t} r_i = q_t + Σ_{i > t} A_i,    A_i = q_i - v_i ≤ 0.

A K-step return jumps from s_t straight to s_{t+K} as though the actions between were the teacher's own choices
(A = 0). It keeps q_t and every K-th advantage, and what to do with the last few actions is named by its tail:

* `segment` (Eqs. 7 and 20, Theorem 1): the last jump goes over the end of the rollout, where the value is 0.

      Ĝ_t = q_t + Σ_{j ≥ 1, t+jK ≤ L-1} A_{t+jK}

* `one-step` (Alg. 1): K steps while at least K actions remain, then single steps. With m = ⌊(L-1-t) / K⌋,

      Ĝ_t = q_t + Σ_{j=1..m} A_{t+jK} + Σ_{i=t+mK+1..L-1} A_i.

K = 1 is the full return of LLMR with either tail. The skipped advantages are never positive, so Ĝ_t ≥ G_t: the bias of
a K-step return is never negative (Eq. 25 as printed has the other sign).

Shapes are [R, T] with boolean masks; units are nats up to a constant per state, which reaches Ĝ_t through q_t alone.
The EOS is an action like any other. A rollout cut off at the length limit is treated alike: nothing follows its last
action, so v_L = 0 as in Alg. 1. Padding may hold anything, and is 0 in every result. Dtypes are kept; use float64
where a variance or a difference of two returns matters. Returns are weights of a policy gradient, and so carry none.
"""

from collections.abc import Sequence
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ketchup.choices import Tail
from ketchup.maths.masked import check_right_padded, masked_sum


def advantages(q: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Teacher advantages A_t = q_t - v_t ≤ 0 [R, T], in nats; 0 in padding.

    How much worse, by the teacher's own account, the action taken was than the best one. Free of the gauge: a
    constant added to all logits of a state cancels.
    """
    return torch.where(mask, q - v, 0)


def step_rewards(q: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Rewards r_t = q_t - v_{t+1} with v_L = 0 (Eq. 2), [R, T]; 0 in padding.

    Rows must be right-padded (`ValueError` otherwise): with a hole, the next column would not be the next state.
    """
    check_right_padded(mask)
    return _rewards(q, v, mask, 1)


def rollout_returns(q: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Full return G_0 of each rollout (Eq. 10), [R]; NaN for a rollout without actions.

    Its mean over test inputs is the paper's Fig. 1. s_0 is the input alone, so the gauge shifts all rollouts of an
    input by the same constant. Rows must be right-padded (`ValueError` otherwise).
    """
    return masked_sum(step_rewards(q, v, mask), mask, dim=1)


def k_step_returns(q: Tensor, v: Tensor, mask: Tensor, k: int, tail: Tail = "segment") -> Tensor:
    """K-step returns Ĝ_t [R, T] of R rollouts for one K: Eq. 7 with `tail="segment"`, Alg. 1 with `tail="one-step"`.

    Ĝ_t = q_t + Σ_j A_{t+jK} over every K-th later action, A = q - v ≤ 0; near its end `one-step` goes on action by
    action. `q[R, T]` is the teacher's logit of each action, `v[R, T]` its largest logit, in nats; `mask[R, T]` is True
    at actions, of which the end-of-sequence token is one. Padding is on the right, may hold anything, and is 0 in the
    result. K = 1 is the full return. `credit` is the same for rows with holes or padding on the left.

    Example:

        q, v = torch.tensor([[-1.0, -2.0, -0.5]]), torch.tensor([[-0.5, -0.2, -0.1]])
        print(ketchup.k_step_returns(q, v, torch.ones(1, 3, dtype=torch.bool), k=2))

    Raises `ValueError` for a K below 1, an unknown tail, shapes that differ, or rows that are not right-padded.
    """
    return k_step_returns_all(q, v, mask, [k], tail)[0]


@torch.no_grad()
def k_step_returns_all(q: Tensor, v: Tensor, mask: Tensor, ks: Sequence[int], tail: Tail = "segment") -> Tensor:
    """K-step returns for every K in `ks`, in that order: [K, R, T], 0 in padding.

    All K come from one teacher pass and share the advantages; with the one-step tail they also share the suffix sums,
    since what follows the last whole jump is the sum of *all* later advantages. A K beyond the longest rollout is
    fine: `segment` then gives q_t, `one-step` gives G_t.

    Raises `ValueError` for a K below 1, an unknown tail, shapes that differ, or rows that are not right-padded.
    """
    _check_choice(ks, tail)
    _check_shapes(q, v, mask)
    check_right_padded(mask)
    taken = torch.where(mask, q, 0)
    a = advantages(q, v, mask)
    if tail == "segment":
        return torch.stack([taken + later_sums(a, k) for k in ks])

    all_later = later_sums(a, 1)
    remaining = remaining_actions(mask).clamp(min=0)
    t = torch.arange(mask.shape[1], device=mask.device)
    returns = []
    for k in ks:
        last_jump = t + remaining - remaining % k  # t + mK; in padding t itself, after which all sums are 0
        returns.append(taken + later_sums(a, k) + all_later.gather(1, last_jump))
    return torch.stack(returns)


@torch.no_grad()
def clipped_step_returns(q: Tensor, v: Tensor, mask: Tensor, k: int, tail: Tail, limit: float) -> Tensor:
    """K-step returns whose every step reward q_t - v_{t+K} is first clipped to [-limit, limit]; [R, T], 0 in padding.

    One reading of the paper's "reward clip range" (the other clips the return). Clipped rewards no longer telescope,
    so the rewards of whole jumps, and with the one-step tail those of the single steps after them, are summed as they
    stand. With an infinite limit this is `k_step_returns`, and the errors are the same.
    """
    _check_choice([k], tail)
    _check_shapes(q, v, mask)
    check_right_padded(mask)
    remaining = remaining_actions(mask)
    jumping = mask if tail == "segment" else mask & (remaining >= k)
    jumps = torch.where(jumping, _rewards(q, v, mask, k).clamp(-limit, limit), 0)
    total = jumps + later_sums(jumps, k)
    if tail == "segment":
        return total
    singles = _rewards(q, v, mask, 1).clamp(-limit, limit)
    to_the_end = singles + later_sums(singles, 1)
    t = torch.arange(mask.shape[1], device=mask.device)
    last_jump = t + remaining.clamp(min=0) - remaining.clamp(min=0) % k
    return torch.where(mask, total + to_the_end.gather(1, last_jump), 0)


def implied_baseline(q: Tensor, v: Tensor, mask: Tensor, k: int, tail: Tail = "segment") -> Tensor:
    """The baseline b_t = G_t - Ĝ_t that a K-step return amounts to (Eqs. 9 and 27), [R, T]; 0 in padding.

    b_t is the sum of the skipped advantages, hence ≤ 0 up to rounding, and free of the gauge. It depends on actions
    taken *after* a_t, so it is no ordinary state baseline: E[-b_t ∇ log π(a_t | s_t)] is the bias of the gradient
    (Eq. 26). Zero for K = 1 and for a rollout the teacher would have chosen itself. Errors as `k_step_returns_all`.
    """
    returns = k_step_returns_all(q, v, mask, [1, k], tail)
    return returns[0] - returns[1]


def remaining_actions(mask: Tensor) -> Tensor:
    """n_t = L - 1 - t, the number of actions after a_t, as int64 [R, T]; negative in padding. Rows are right-padded."""
    t = torch.arange(mask.shape[1], device=mask.device)
    return mask.sum(dim=1, keepdim=True) - 1 - t


def later_sums(values: Tensor, k: int = 1) -> Tensor:
    """Σ_{j ≥ 1} x_{t+jK} for every t of `values[R, T]`, [R, T], without a loop over t; padding must hold 0.

    The row is laid out in lines of K columns, so that t and t+K are neighbours in one column; a reversed cumulative
    sum down the columns then holds Σ_{j ≥ 0} x_{t+jK} at t, and what starts one jump ahead is the same table K later.
    """
    rows, length = values.shape
    k = min(k, max(length, 1))  # a jump of T leaves every row already; a longer one would only allocate zeros
    lines = -(-length // k) + 1  # one line of zeros more, for the jump past the end
    table = F.pad(values, (0, lines * k - length)).view(rows, lines, k)
    from_here = table.flip(1).cumsum(1).flip(1).reshape(rows, lines * k)
    return from_here[:, k : k + length]


def _rewards(q: Tensor, v: Tensor, mask: Tensor, k: int) -> Tensor:
    """Rewards q_t - v_{t+K} of a step of K actions, v = 0 past the end."""
    reached = F.pad(torch.where(mask, v, 0)[:, k:], (0, min(k, mask.shape[1])))
    return torch.where(mask, q - reached, 0)


def _check_shapes(q: Tensor, v: Tensor, mask: Tensor) -> None:
    """One row of v would be spread over all rows of q."""
    if not q.shape == v.shape == mask.shape or q.ndim != 2:
        shapes = f"{list(q.shape)}, {list(v.shape)} and {list(mask.shape)}"
        raise ValueError(f"q, v and mask have the shapes {shapes}, and all must be [R, T]")


def _check_choice(ks: Sequence[int], tail: str) -> None:
    for k in ks:
        if k < 1:
            raise ValueError(f"K is the number of actions in a step and at least 1, not {k}")
    if tail not in get_args(Tail):
        raise ValueError(f"the tail is 'segment' or 'one-step', not {tail!r}")
