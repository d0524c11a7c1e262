"""Scored rollouts on disk: parquet parts of a few inputs each, written whole, one row a rollout.

Token columns are lists over all tokens of the row; value columns are lists over its *actions* only, so they can be
put side by side as the right-padded rows that returns are computed on. A part that is there is whole; it holds all
samples of its inputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from ketchup.errors import RunError, first_line
from ketchup.estimators import NUMBERS, Numbers
from ketchup.models.scoring import StudentValues, TeacherValues
from ketchup.rollouts.fill import Block
from ketchup.rollouts.types import Rollouts
from ketchup.tasks.base import Input
from ketchup_eval.variance.sealed import REMEDY, damaged, open_sealed, write_sealed

VALUES = ("q", "v", "mean", "logsumexp", "log_prob", "kl", "entropy", "collision", "own_value", "sampler_log_prob")
LATER = ("collision", "own_value", "sampler_log_prob")
"""Those of them that parts of earlier versions lack; the last one also where the engine did not tell."""
OF_ALL_LOGITS = ("mean", "kl", "own_value")
"""Those that a teacher behind a server does not give."""


@dataclass(frozen=True)
class ScoredBlock:
    """Scored rollouts of I inputs with N samples each: `values[name][I, N, T]` and `mask[I, N, T]`, right-padded."""

    ids: tuple[str, ...]
    ended: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    values: dict[str, NDArray[np.float64]]

    @property
    def numbers(self) -> Numbers:
        """What estimators look at, R = I x N; float64."""
        known = {name: values.reshape(-1, values.shape[2]) for name, values in self.values.items() if name in NUMBERS}
        return Numbers(
            torch.from_numpy(self.mask.reshape(-1, self.mask.shape[2])),
            self.mask.shape[1],
            **{name: torch.from_numpy(values) for name, values in known.items()},
        )


@dataclass(frozen=True)
class BlockTokens:
    """The tokens of a block's rollouts, an input's neighbours, and which of them the student chose."""

    tokens: list[list[int]]
    action_mask: list[list[bool]]


class PartStore:
    """The rollouts of one student: block i is part i of `folder`."""

    def __init__(self, folder: Path, blocks: Sequence[Block]) -> None:
        self.folder = folder
        self.blocks = blocks

    def path(self, index: int) -> Path:
        """The file of a block."""
        return part_path(self.folder, index)

    def missing(self) -> list[int]:
        """Numbers of the blocks that `folder` does not hold all inputs of."""
        return [
            index
            for index, block in enumerate(self.blocks)
            if not {one.input_hash for one in block} <= part_inputs(self.path(index))
        ]

    def write(self, index: int, rollouts: Rollouts, values: tuple[TeacherValues, StudentValues]) -> None:
        """Keeps a block as a part."""
        write_part(self.path(index), self.blocks[index], rollouts, *values)

    def written(self, index: int) -> BlockTokens:
        """The tokens of a block, in the order of its inputs."""
        path = self.path(index)
        table = _table(path, ["id", "tokens", "action"])
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(table.column("id").to_pylist()):
            rows.setdefault(name, []).append(row)
        table = table.take([row for one in self.blocks[index] for row in rows[one.id]])
        return BlockTokens(table.column("tokens").to_pylist(), table.column("action").to_pylist())

    def read(self, wanted: Mapping[str, str | None]) -> Iterator[ScoredBlock]:
        """All blocks, one at a time, with the `wanted` values, each of which names who needs it: see `read_part`."""
        for index in range(len(self.blocks)):
            yield self.read_block(index, wanted)

    def read_block(self, index: int, wanted: Mapping[str, str | None]) -> ScoredBlock:
        """One of them."""
        return read_part(self.path(index), [one.id for one in self.blocks[index]], wanted)


def part_path(folder: Path, index: int) -> Path:
    """Where part `index` (from 0) of a student's rollouts is."""
    return folder / f"part-{index:05d}.parquet"


def write_part(
    path: Path, inputs: Sequence[Input], rollouts: Rollouts, teacher: TeacherValues, student: StudentValues
) -> None:
    """Writes the rollouts of a few inputs and their scores; the file appears whole or not at all."""
    scores = {**vars(teacher), **vars(student), "sampler_log_prob": rollouts.sampler_log_prob}
    columns = {
        "id": [name for name in rollouts.ids for _ in range(rollouts.samples)],
        "input": [one.input_hash for one in inputs for _ in range(rollouts.samples)],
        "sample": [sample for _ in rollouts.ids for sample in range(rollouts.samples)],
        "ended": rollouts.ended.tolist(),
        "tokens": _lists(rollouts.tokens, rollouts.token_mask, pa.int32()),
        "action": _lists(rollouts.action_mask, rollouts.token_mask, pa.bool_()),
        **{
            name: _lists(scores[name], rollouts.action_mask, pa.float32())
            for name in VALUES
            if scores[name] is not None
        },
    }
    write_sealed(path, pa.table(columns))


def part_inputs(path: Path) -> set[str]:
    """Hashes of the inputs in a part; none if the part does not exist."""
    return set(_table(path, ["input"]).column("input").to_pylist()) if path.exists() else set()


def read_part(path: Path, ids: Sequence[str], wanted: Mapping[str, str | None] | None = None) -> ScoredBlock:
    """The named inputs of a part, as arrays padded with 0 to its longest row.

    Values are q and those `wanted`, each of which names who needs it (`None`: nobody, it is read if it is there); or
    all that there are. Raises `RunError` if the part is damaged, or does not keep one that is needed.
    """
    asked = [name for name in VALUES if wanted is None or name == "q" or name in wanted]
    lacking = {*LATER, *OF_ALL_LOGITS}
    always = [name for name in asked if name not in lacking]
    table = _table(path, ["id", "ended", *always], [name for name in asked if name in lacking])
    names = [name for name in asked if name in table.schema.names]
    for name in asked:
        if name not in names and (who := (wanted or {}).get(name)):
            raise RunError(f"{path} {_lacks(name)}, which {who} needs; {REMEDY}, or leave {who} out.")
    rows: dict[str, list[int]] = {name: [] for name in ids}
    for index, name in enumerate(table.column("id").to_pylist()):
        rows.setdefault(name, []).append(index)
    samples = {len(rows[name]) for name in ids}
    if len(samples) != 1 or 0 in samples:
        raise damaged(path, "it lacks samples of its inputs")
    table = table.take([index for name in ids for index in rows[name]])
    shape = (len(ids), *samples)
    lengths = pc.list_value_length(table.column("q")).to_numpy()
    mask = np.arange(max(1, lengths.max())) < lengths[:, None]
    values = {}
    for name in names:
        if not np.array_equal(pc.list_value_length(table.column(name)).to_numpy(), lengths):
            raise damaged(path, f"{name} lacks values of some actions")
        padded = np.zeros(mask.shape)
        padded[mask] = table.column(name).combine_chunks().flatten().to_numpy(zero_copy_only=False)
        if not np.isfinite(padded).all():
            raise damaged(path, f"{name} holds values that are not finite")
        values[name] = padded.reshape(*shape, -1)
    ended = np.array(table.column("ended").to_pylist()).reshape(shape)
    return ScoredBlock(tuple(ids), ended, mask.reshape(*shape, -1), values)


def _lacks(name: str) -> str:
    if name == "sampler_log_prob":
        return "has no log-probabilities of the engine that drew, which did not tell or was not yet asked"
    return f"was written before {name} was kept"


def _table(path: Path, columns: list[str], optional: Sequence[str] = ()) -> pa.Table:
    """The columns, and those `optional` that there are."""
    file = open_sealed(path)
    try:
        columns = columns + [name for name in optional if name in file.schema_arrow.names]
        table = file.read(columns)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise damaged(path, first_line(error)) from error
    if table.schema.names != columns or [field.type for field in table.schema] != [_kind(name) for name in columns]:
        raise damaged(path, f"it holds {table.schema.names} in place of {columns}, or other kinds of values")
    if any(column.null_count for column in table.columns):
        raise damaged(path, "it lacks values")
    return table


def _kind(column: str) -> pa.DataType:
    lists = {"tokens": pa.int32(), "action": pa.bool_(), **dict.fromkeys(VALUES, pa.float32())}
    return pa.list_(lists[column]) if column in lists else pa.bool_() if column == "ended" else pa.string()


def _lists(values: Tensor, mask: Tensor, kind: pa.DataType) -> pa.Array:
    """`values[R, T]` where `mask[R, T]` is True, as one list a row."""
    ends = np.concatenate([[0], mask.sum(dim=1).cumsum(dim=0).numpy()])
    flat = pa.array(values[mask].numpy()).cast(kind)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat)
