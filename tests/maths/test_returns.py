import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ketchup.maths.masked import masked_mean
from ketchup.maths.returns import (
    advantages,
    clipped_step_returns,
    implied_baseline,
    k_step_returns,
    k_step_returns_all,
    rollout_returns,
    step_rewards,
)
from tests import reference
from tests.maths.strategies import TAILS, batch_of, batches

few = settings(max_examples=60, deadline=None)
ks = st.integers(1, 15)
tails = st.sampled_from(TAILS)


def unpadded(values, mask):
    """Rows as lists, and the promise that padding is exactly 0."""
    assert (values[~mask] == 0).all()
    return [row[keep].tolist() for row, keep in zip(values, mask, strict=True)]


def assert_rows_equal(values, mask, expected):
    for row, wanted in zip(unpadded(values, mask), expected, strict=True):
        assert row == pytest.approx(wanted, abs=1e-9)


# Against the literal transcriptions


@few
@given(batches(), ks)
def test_one_step_tail_is_algorithm_1(b, k):
    result = k_step_returns(b.q, b.v, b.mask, k, "one-step")
    assert_rows_equal(result, b.mask, [reference.algorithm_1(q, v, k) for q, v in b.rows])


@few
@given(batches(), ks)
def test_segment_tail_is_equation_7(b, k):
    result = k_step_returns(b.q, b.v, b.mask, k, "segment")
    assert_rows_equal(result, b.mask, [reference.equation_7(q, v, k) for q, v in b.rows])


@few
@given(batches(), ks, tails, st.floats(0.5, 40))
def test_step_rewards_are_clipped_one_by_one(b, k, tail, limit):
    result = clipped_step_returns(b.q, b.v, b.mask, k, tail, limit)
    assert_rows_equal(result, b.mask, [reference.clipped_returns(q, v, k, tail, limit) for q, v in b.rows])


@few
@given(batches(), ks, tails)
def test_rewards_that_are_not_clipped_sum_to_the_return(b, k, tail):
    free = clipped_step_returns(b.q, b.v, b.mask, k, tail, float("inf"))
    torch.testing.assert_close(free, k_step_returns(b.q, b.v, b.mask, k, tail))


@few
@given(batches(), ks, tails)
def test_implied_baseline_is_the_sum_of_the_skipped_advantages(b, k, tail):
    result = implied_baseline(b.q, b.v, b.mask, k, tail)
    assert_rows_equal(result, b.mask, [reference.skipped_advantages(q, v, k, tail) for q, v in b.rows])


@few
@given(batches())
def test_rewards_sum_to_the_full_return(b):
    rewards = step_rewards(b.q, b.v, b.mask)
    expected = [reference.reward_to_go(q, v)[0] for q, v in b.rows]
    assert [sum(row) for row in unpadded(rewards, b.mask)] == pytest.approx(expected, abs=1e-9)
    assert rollout_returns(b.q, b.v, b.mask).tolist() == pytest.approx(expected, abs=1e-9)


def test_a_rollout_by_hand():
    # q = 3 1 4 1 5, v = 3 2 4 3 9, so A = 0 -1 0 -2 -4 and, from the end, G = 5, 1-4, 4-2-4, 1+0-2-4, 3-1+0-2-4.
    b = batch_of([([3.0, 1.0, 4.0, 1.0, 5.0], [3.0, 2.0, 4.0, 3.0, 9.0])])
    assert k_step_returns(b.q, b.v, b.mask, 1).tolist() == [[-4, -5, -2, -3, 5]]
    # K = 2 from t = 0 visits 2 and 4; from t = 1 it visits 3, and Algorithm 1 goes on to 4.
    assert k_step_returns(b.q, b.v, b.mask, 2, "segment").tolist() == [[-1, -1, 0, 1, 5]]
    assert k_step_returns(b.q, b.v, b.mask, 2, "one-step").tolist() == [[-1, -5, 0, -3, 5]]
    assert step_rewards(b.q, b.v, b.mask).tolist() == [[1, -3, 1, -8, 5]]


# The laws


@few
@given(batches(), tails)
def test_k_of_one_is_the_reward_to_go(b, tail):
    assert_rows_equal(k_step_returns(b.q, b.v, b.mask, 1, tail), b.mask, [reference.reward_to_go(*r) for r in b.rows])


@few
@given(batches(), ks, tails)
def test_bias_is_never_negative(b, k, tail):
    assert (implied_baseline(b.q, b.v, b.mask, k, tail) <= 1e-9).all()


@few
@given(batches(), ks)
def test_doubling_k_never_lowers_the_bias_of_the_segment_tail(b, k):
    once, twice = k_step_returns_all(b.q, b.v, b.mask, [k, 2 * k], "segment")
    assert (twice >= once - 1e-9).all()


def test_doubling_k_may_lower_the_bias_of_the_one_step_tail():
    # Three actions: K = 2 skips a_1, while for K = 4 fewer than four remain everywhere, so nothing is skipped.
    b = batch_of([([0.0, 0.0, 0.0], [0.0, 5.0, 0.0])])
    two, four = k_step_returns_all(b.q, b.v, b.mask, [2, 4], "one-step")
    assert (two[0, 0], four[0, 0]) == (0, -5)


@few
@given(batches(), ks, tails)
def test_a_teacher_greedy_rollout_returns_q(b, k, tail):
    assert torch.equal(k_step_returns(b.q, b.q, b.mask, k, tail), torch.where(b.mask, b.q, 0))


@few
@given(batches(), ks, tails, st.integers(0, 2**32 - 1))
def test_a_gauge_shift_moves_a_return_by_its_own_state_only(b, k, tail, seed):
    shift = 10 * torch.randn(b.q.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    moved = k_step_returns(b.q + shift, b.v + shift, b.mask, k, tail) - k_step_returns(b.q, b.v, b.mask, k, tail)
    torch.testing.assert_close(moved, torch.where(b.mask, shift, 0), rtol=0, atol=1e-9)


@few
@given(batches(max_length=6), st.sampled_from([7, 12, 10**12]))
def test_a_k_beyond_the_rollout_is_q_or_the_full_return(b, k):
    assert torch.equal(k_step_returns(b.q, b.v, b.mask, k, "segment"), torch.where(b.mask, b.q, 0))
    full = k_step_returns(b.q, b.v, b.mask, 1, "one-step")
    assert torch.equal(k_step_returns(b.q, b.v, b.mask, k, "one-step"), full)


@few
@given(batches(), ks, tails, st.integers(1, 9))
def test_padding_changes_nothing(b, k, tail, extra):
    wider = batch_of(b.rows, extra)
    length = min(b.mask.shape[1], wider.mask.shape[1])
    narrow = k_step_returns(b.q, b.v, b.mask, k, tail)
    wide = k_step_returns(wider.q, wider.v, wider.mask, k, tail)
    torch.testing.assert_close(wide[:, :length], narrow[:, :length], rtol=0, atol=1e-9)
    assert (wide[:, length:] == 0).all()
    assert (narrow[:, length:] == 0).all()


# Interfaces


@pytest.mark.parametrize("tail", TAILS)
def test_all_k_at_once_in_the_order_asked(tail):
    generator = torch.Generator().manual_seed(1)
    q = torch.randn(5, 23, generator=generator, dtype=torch.float64)
    v = q + torch.rand(5, 23, generator=generator, dtype=torch.float64)
    mask = torch.arange(23) < torch.tensor([[23], [1], [0], [10], [16]])
    chosen = [8, 1, 3, 100]
    together = k_step_returns_all(q, v, mask, chosen, tail)
    assert torch.equal(together, torch.stack([k_step_returns(q, v, mask, k, tail) for k in chosen]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("tail", TAILS)
def test_dtype_is_kept_and_no_gradient_is_built(dtype, tail):
    q = torch.ones(2, 5, dtype=dtype, requires_grad=True)
    result = k_step_returns(q, q, torch.ones(2, 5, dtype=torch.bool), 2, tail)
    assert result.dtype == dtype
    assert not result.requires_grad


def test_an_absent_rollout_has_no_return():
    q = torch.zeros(2, 3)
    mask = torch.tensor([[True, False, False], [False, False, False]])
    assert rollout_returns(q, q, mask).isnan().tolist() == [False, True]
    assert masked_mean(advantages(q, q, mask), mask, dim=1).isnan().tolist() == [False, True]


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one_is_named(k):
    x = torch.zeros(1, 2)
    with pytest.raises(ValueError, match=f"not {k}$"):
        k_step_returns_all(x, x, x == 0, [2, k])


def test_an_unknown_tail_is_named():
    x = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="'both'"):
        k_step_returns(x, x, x == 0, 2, "both")


@pytest.mark.parametrize("function", [step_rewards, rollout_returns, lambda q, v, m: k_step_returns(q, v, m, 2)])
def test_holes_are_refused(function):
    x = torch.zeros(2, 3)
    mask = torch.tensor([[True, True, False], [True, False, True]])
    with pytest.raises(ValueError, match="row 1 of the mask"):
        function(x, x, mask)


@pytest.mark.parametrize("shapes", [((2, 3), (1, 3), (2, 3)), ((2, 3), (2, 3), (1, 3)), ((3,), (3,), (3,))])
def test_shapes_that_would_be_spread_are_refused(shapes):
    """One row of v would silently stand for all."""
    q, v, mask = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"all must be \[R, T\]"):
        k_step_returns(q, v, mask.bool() | True, 2)
