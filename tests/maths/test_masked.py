import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ketchup.maths.masked import check_right_padded, compact, masked_mean, masked_sum, masked_var
from ketchup.maths.returns import k_step_returns, step_rewards
from tests import reference

few = settings(max_examples=60, deadline=None)
entries = st.lists(st.tuples(st.floats(-100, 100), st.booleans()), min_size=1, max_size=10)


def with_hostile_padding(row):
    """The kept values as a list; values and mask as tensors, where what is masked out is NaN or infinite."""
    kept = [x for x, keep in row if keep]
    hostile = [x if keep else (math.nan if i % 2 else math.inf) for i, (x, keep) in enumerate(row)]
    return kept, torch.tensor(hostile, dtype=torch.float64), torch.tensor([keep for _, keep in row])


@few
@given(entries)
def test_reductions_are_those_of_the_kept_entries(row):
    kept, values, mask = with_hostile_padding(row)
    nan = math.nan
    assert masked_sum(values, mask).item() == pytest.approx(sum(kept) if kept else nan, nan_ok=True)
    assert masked_mean(values, mask).item() == pytest.approx(statistics.mean(kept) if kept else nan, nan_ok=True)
    variance = reference.unbiased_variance(kept) if len(kept) > 1 else nan
    assert masked_var(values, mask).item() == pytest.approx(variance, nan_ok=True, abs=1e-9)


def test_one_axis_at_a_time():
    values = torch.tensor([[1.0, 5.0, 9.0], [2.0, 0.0, 0.0], [7.0, 7.0, 7.0]])
    mask = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    nan = math.nan
    for reduction, by_row, by_column in [
        (masked_sum, [15, 2, nan], [3, 5, 9]),
        (masked_mean, [5, 2, nan], [1.5, 5, 9]),
        (masked_var, [16, nan, nan], [0.5, nan, nan]),
    ]:
        assert reduction(values, mask, dim=1).tolist() == pytest.approx(by_row, nan_ok=True)
        assert reduction(values, mask, dim=0).tolist() == pytest.approx(by_column, nan_ok=True)
        torch.testing.assert_close(reduction(values, mask, dim=(0, 1)), reduction(values, mask))


def test_a_large_offset_costs_no_digits():
    values = torch.tensor([1e8, 1e8 + 1, 1e8 + 2], dtype=torch.float64)
    assert masked_var(values, values > 0).item() == 1


@pytest.mark.parametrize("reduction", [masked_sum, masked_mean, masked_var])
def test_padding_reaches_no_gradient(reduction):
    values = torch.tensor([1.0, math.nan, 3.0, math.inf], requires_grad=True)
    reduction(values, torch.tensor([True, False, True, False])).backward()
    assert values.grad.isfinite().all()
    assert values.grad[[1, 3]].tolist() == [0, 0]


# Right padding


@pytest.mark.parametrize("rows", [[[1, 1, 0], [0, 0, 0], [1, 1, 1]], [[1]], [[]]])
def test_right_padded_masks_pass(rows):
    check_right_padded(torch.tensor(rows, dtype=torch.bool))


@pytest.mark.parametrize("row", [[0, 1, 1], [1, 0, 1], [1, 1, 0, 0, 1]])
def test_an_action_after_padding_is_refused(row):
    with pytest.raises(ValueError, match="row 1 of the mask has an action after padding"):
        check_right_padded(torch.tensor([[1] * len(row), row], dtype=torch.bool))


def test_an_integer_mask_is_refused():
    with pytest.raises(TypeError, match=r"torch\.int64"):
        check_right_padded(torch.tensor([[1, 0]]))


@few
@given(st.lists(entries, min_size=1, max_size=4))
def test_compacting_keeps_what_was_kept_in_order(rows):
    width = max(map(len, rows))
    prepared = [with_hostile_padding(row + [(0.0, False)] * (width - len(row))) for row in rows]
    values, mask = compact(torch.stack([v for _, v, _ in prepared]), torch.stack([m for _, _, m in prepared]))
    check_right_padded(mask)
    assert [v[m].tolist() for v, m in zip(values, mask, strict=True)] == [kept for kept, _, _ in prepared]
    assert (values[~mask] == 0).all()
    assert values.shape == mask.shape == (len(rows), width)


def test_compacting_keeps_integers():
    tokens, _ = compact(torch.tensor([[7, 8, 9]]), torch.tensor([[False, True, True]]))
    assert tokens.tolist() == [[8, 9, 0]]
    assert tokens.dtype == torch.int64


def test_a_forced_token_is_no_step():
    # The calculator wrote columns 1 and 2. The action before it leads straight to the state of column 3.
    q = torch.tensor([[1.0, 50.0, 50.0, 2.0, 3.0]])
    v = torch.tensor([[2.0, 60.0, 60.0, 4.0, 8.0]])
    mask = torch.tensor([[True, False, False, True, True]])
    (q, packed), (v, _) = compact(q, mask), compact(v, mask)
    assert step_rewards(q, v, packed).tolist() == [[1 - 4, 2 - 8, 3, 0, 0]]
    assert k_step_returns(q, v, packed, 2).tolist() == [[1 - 8 + 3, 2, 3, 0, 0]]
