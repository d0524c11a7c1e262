"""Outputs as JSON lines: one file in the end, a part for each block until then.

Every row says by `input` what it is an output of, the hash of an input's id and source. While outputs are written,
each block is a file of its own, so that many processes can write at once; `gather` makes one file of them.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ketchup.errors import RunError
from ketchup.files import read_jsonl, write_jsonl
from ketchup.hashes import content_hash
from ketchup.kinds import misfit
from ketchup.rollouts.fill import Block
from ketchup.rollouts.types import Rollouts
from ketchup.tasks.base import Input

Values = TypeVar("Values")
Line = dict[str, Any]


class LineStore:
    """Outputs of some blocks: `file`, and parts of it in `folder`.

    `rows` makes the rows of a block from its inputs, rollouts and their values; `input` is added here.
    """

    def __init__(
        self,
        file: Path,
        folder: Path,
        blocks: Sequence[Block],
        rows: Callable[[Block, Rollouts, Values], Iterable[Line]],
    ) -> None:
        self.file = file
        self.folder = folder
        self.blocks = blocks
        self.rows = rows

    def path(self, index: int) -> Path:
        """The part of a block, named after its inputs: other blocks may be made of more or fewer inputs."""
        return self.folder / f"part-{content_hash([one.input_hash for one in self.blocks[index]])}.jsonl"

    def known(self) -> dict[str, Line]:
        """The rows that are there, by input."""
        files = [self.file, *sorted(self.folder.glob("part-*.jsonl"))]
        return {_input(row, file): row for file in files for row in read_jsonl(file)[0]}

    def missing(self) -> list[int]:
        """Numbers of the blocks with an input that has no output."""
        known = self.known()
        return [i for i, block in enumerate(self.blocks) if any(one.input_hash not in known for one in block)]

    def write(self, index: int, rollouts: Rollouts, values: Any) -> None:
        """Keeps the outputs of a block as a part."""
        block = self.blocks[index]
        rows = self.rows(block, rollouts, values)
        write_jsonl(self.path(index), [{**row, "input": e.input_hash} for e, row in zip(block, rows, strict=True)])

    def gather(self, inputs: Sequence[Input]) -> None:
        """Makes one file of all parts: what the file has stays as it is, the rest follows in the order of the inputs.

        The file may hold outputs of inputs that are not asked for now.
        """
        parts = sorted(self.folder.glob("part-*.jsonl"))
        if not parts:
            return
        known = {**self.known(), **self._gathered()}
        new = [one.input_hash for one in inputs if one.input_hash in known]
        write_jsonl(self.file, [known[name] for name in dict.fromkeys([*self._gathered(), *new, *known])])
        for part in parts:
            part.unlink()

    def _gathered(self) -> dict[str, Line]:
        return {_input(row, self.file): row for row in read_jsonl(self.file)[0]}


def _input(row: Line, file: Path) -> str:
    if wrong := misfit(row, {"id": str, "input": str}):
        raise RunError(f"{file} has a row that was not written by this command, as {wrong}; move the file away.")
    return str(row["input"])
