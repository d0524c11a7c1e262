"""Rollouts for property tests: ragged rows of teacher values, as lists and as padded tensors."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

TAILS = ["segment", "one-step"]
LOGITS = st.floats(-30, 30, allow_subnormal=False)


@dataclass(frozen=True)
class Batch:
    """`rows` holds (q, v) of each rollout without padding; the tensors [R, T] hold NaN and infinity in padding."""

    rows: list[tuple[list[float], list[float]]]
    q: Tensor
    v: Tensor
    mask: Tensor


def pad(rows: list[list[float]], length: int, filler: float) -> Tensor:
    return torch.tensor([row + [filler] * (length - len(row)) for row in rows], dtype=torch.float64)


def batch_of(rows: list[tuple[list[float], list[float]]], extra: int = 0) -> Batch:
    length = max(len(q) for q, _ in rows) + extra
    lengths = torch.tensor([len(q) for q, _ in rows])
    return Batch(
        rows,
        q=pad([q for q, _ in rows], length, float("nan")),
        v=pad([v for _, v in rows], length, float("inf")),
        mask=torch.arange(length) < lengths[:, None],
    )


@st.composite
def batches(draw, max_rows: int = 4, max_length: int = 12) -> Batch:
    """A batch with v ≥ q everywhere (v is a maximum), and sometimes v = q (the teacher's own choice)."""
    rows = []
    for length in draw(st.lists(st.integers(1, max_length), min_size=1, max_size=max_rows)):
        q = draw(st.lists(LOGITS, min_size=length, max_size=length))
        below = draw(st.lists(st.floats(0, 20, allow_subnormal=False), min_size=length, max_size=length))
        rows.append((q, [x + d for x, d in zip(q, below, strict=True)]))
    return batch_of(rows, extra=draw(st.integers(0, 3)))
