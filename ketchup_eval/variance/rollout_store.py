"""Scored rollouts on disk: parquet parts of a few inputs each, written whole, one row a rollout.

Token columns are lists over all tokens of the row; value columns are lists over its *actions* only, so they can be
put side by side as the right-padded rows that returns are computed on. A part that is there is whole; it holds all
samples of its inputs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from ketchup.errors import RunError
from ketchup.files import atomic_path
from ketchup.models.scoring import StudentValues, TeacherValues
from ketchup.rollouts.types import Rollouts
from ketchup.tasks.base import Example

VALUES = ("q", "v", "mean", "logsumexp", "log_prob", "kl", "entropy")


@dataclass(frozen=True)
class ScoredBlock:
    """Scored rollouts of I inputs with N samples each: `values[name][I, N, T]` and `mask[I, N, T]`, right-padded."""

    ids: tuple[str, ...]
    ended: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    values: dict[str, NDArray[np.float64]]


def part_path(folder: Path, index: int) -> Path:
    """Where part `index` (from 0) of a student's rollouts is."""
    return folder / f"part-{index:05d}.parquet"


def write_part(
    path: Path, inputs: Sequence[Example], rollouts: Rollouts, teacher: TeacherValues, student: StudentValues
) -> None:
    """Writes the rollouts of a few inputs and their scores; the file appears whole or not at all."""
    scores = {**vars(teacher), **vars(student)}
    columns = {
        "id": [name for name in rollouts.ids for _ in range(rollouts.samples)],
        "input": [example.input_hash for example in inputs for _ in range(rollouts.samples)],
        "sample": [sample for _ in rollouts.ids for sample in range(rollouts.samples)],
        "ended": rollouts.ended.tolist(),
        "tokens": _lists(rollouts.tokens, rollouts.token_mask, pa.int32()),
        "action": _lists(rollouts.action_mask, rollouts.token_mask, pa.bool_()),
        **{name: _lists(scores[name], rollouts.action_mask, pa.float32()) for name in VALUES},
    }
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def part_inputs(path: Path) -> set[str]:
    """Hashes of the inputs in a part; none if the part does not exist."""
    return set(_table(path, ["input"]).column("input").to_pylist()) if path.exists() else set()


def read_part(path: Path, ids: Sequence[str]) -> ScoredBlock:
    """The named inputs of a part, as arrays padded with 0 to its longest row."""
    table = _table(path, ["id", "ended", *VALUES])
    rows: dict[str, list[int]] = {}
    for index, name in enumerate(table.column("id").to_pylist()):
        rows.setdefault(name, []).append(index)
    chosen = [index for name in ids for index in rows[name]]
    shape = (len(ids), len(chosen) // len(ids))
    table = table.take(chosen)
    lengths = np.array([len(row) for row in table.column("q")])
    mask = np.arange(max(1, lengths.max())) < lengths[:, None]
    values = {}
    for name in VALUES:
        padded = np.zeros(mask.shape)
        padded[mask] = table.column(name).combine_chunks().flatten().to_numpy()
        values[name] = padded.reshape(*shape, -1)
    ended = np.array(table.column("ended").to_pylist()).reshape(shape)
    return ScoredBlock(tuple(ids), ended, mask.reshape(*shape, -1), values)


def read_blocks(folder: Path, blocks: Sequence[Sequence[str]]) -> Iterator[ScoredBlock]:
    """The inputs of each block, from the part of the same number."""
    for index, ids in enumerate(blocks):
        yield read_part(part_path(folder, index), ids)


def _table(path: Path, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{path} is damaged ({error}); delete this file and run the same command again.") from error


def _lists(values: Tensor, mask: Tensor, kind: pa.DataType) -> pa.Array:
    """`values[R, T]` where `mask[R, T]` is True, as one list a row."""
    ends = np.concatenate([[0], mask.sum(dim=1).cumsum(dim=0).numpy()])
    flat = pa.array(values[mask].numpy()).cast(kind)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat)
