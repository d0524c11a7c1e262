"""Gradients on disk, beside their rollouts: a parquet part for each part of rollouts.

A part has a row for each input and two columns for each row of weights: the mean gradient of the input's rollouts, and
the mean of their squared norms. It says which rollouts it was made of. What is missing of it is added, and what was
made of other rollouts is made anew.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ketchup.errors import first_line
from ketchup.hashes import content_hash, file_hash
from ketchup.rollouts.fill import Block
from ketchup_eval.stats.bootstrap import Array
from ketchup_eval.variance.rollout_store import PartStore, part_path
from ketchup_eval.variance.sealed import damaged, open_sealed, write_sealed

VERSION = 1
"""Of how gradients are computed; those of another are made anew."""
MADE_OF = b"ketchup-made-of"
SQUARE = "squared norm of "


@dataclass(frozen=True)
class InputGradients:
    """Of each row of weights: mean gradients `means[name][I, D]` (float32) and squared norms `squares[name][I]`."""

    means: dict[str, NDArray[Any]]
    squares: dict[str, Array]


class GradientStore:
    """The gradients of one student's rollouts, by the weights `where`: block i is part i of `folder`.

    `kind` is all that decides them beside rollouts and student.
    """

    def __init__(self, folder: Path, rollouts: PartStore, names: Sequence[str], where: str, kind: object) -> None:
        readable = re.sub(r"[^A-Za-z0-9]+", "-", where).strip("-")[:40]
        self.folder = folder / f"{readable}-{content_hash([VERSION, where, kind])[:8]}"
        self.rollouts = rollouts
        self.names = list(names)

    @property
    def blocks(self) -> Sequence[Block]:
        """All blocks, stored or not."""
        return self.rollouts.blocks

    def path(self, index: int) -> Path:
        """The file of a block."""
        return part_path(self.folder, index)

    def missing(self) -> list[int]:
        """Numbers of the blocks that lack gradients of a row."""
        return [index for index in range(len(self.blocks)) if self.lacking(index)]

    def lacking(self, index: int) -> list[str]:
        """The rows whose gradients a block lacks."""
        known = self._kept(index)
        return [name for name in self.names if name not in known]

    def write(self, index: int, found: InputGradients) -> None:
        """Adds gradients to a block."""
        columns = {"id": pa.array([one.id for one in self.blocks[index]])}
        kept = self._kept(index)
        if kept:
            file = open_sealed(self.path(index))
            for name in kept:
                columns |= {column: _column(self.path(index), file, column) for column in (name, SQUARE + name)}
        for name, means in found.means.items():
            flat = pa.array(np.ascontiguousarray(means, np.float32).ravel())
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, means.shape[1])
            columns[SQUARE + name] = pa.array(found.squares[name])
        write_sealed(
            self.path(index),
            pa.table(dict(sorted(columns.items()))),
            {MADE_OF: self._made_of(index)},
            use_dictionary=False,
            compression="none",
        )

    def read(self) -> InputGradients:
        """Those of all inputs, which must be there."""
        inputs = sum(map(len, self.blocks))
        means: dict[str, NDArray[Any]] = {}
        squares = {name: np.empty(inputs) for name in self.names}
        done = 0
        for index, block in enumerate(self.blocks):
            path, here = self.path(index), slice(done, done + len(block))
            file = open_sealed(path)
            for name in self.names:
                flat = _column(path, file, name).flatten().to_numpy().reshape(len(block), -1)
                means.setdefault(name, np.empty((inputs, flat.shape[1]), np.float32))[here] = flat
                squares[name][here] = _column(path, file, SQUARE + name).to_numpy()
            done += len(block)
        return InputGradients(means, squares)

    def _kept(self, index: int) -> list[str]:
        """The rows that a part has of these very rollouts."""
        path = self.path(index)
        if not path.exists():
            return []
        try:
            schema = pq.read_schema(path)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise damaged(path, first_line(error)) from error
        if (schema.metadata or {}).get(MADE_OF) != self._made_of(index):
            return []
        return [name for name in schema.names if SQUARE + name in schema.names]

    def _made_of(self, index: int) -> bytes:
        inputs = [one.input_hash for one in self.blocks[index]]
        return content_hash([file_hash(self.rollouts.path(index)), inputs]).encode()


def _column(path: Path, file: pq.ParquetFile, name: str) -> pa.Array:
    try:
        column = file.read([name]).column(name).combine_chunks()
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise damaged(path, first_line(error)) from error
    if column.null_count:
        raise damaged(path, f"{name} lacks values")
    return column
