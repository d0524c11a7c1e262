"""Filling a run: what is missing of it is sampled, scored and stored, block by block, by any number of processes.

A block is a few inputs whose rollouts are drawn, scored and written together: what a kill can lose at most. Its seed
follows from its inputs, so that the files are the same for any number of processes and after any stop.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

from ketchup.choices import EngineName
from ketchup.hashes import content_hash
from ketchup.models.language_model import LanguageModel
from ketchup.phases import Phases
from ketchup.processes import Processes
from ketchup.progress import Bar
from ketchup.rollouts.engines import Choice, check_tells, choose
from ketchup.rollouts.sampling import sample
from ketchup.rollouts.types import Decoding, Rollouts
from ketchup.tasks.base import Input

BLOCK = 64
"""Inputs in a block where each has one output."""
SECONDS_BETWEEN_LOOKS = 0.5
"""How often the process that shows progress looks for the blocks of the others."""

Values = TypeVar("Values")
Item = TypeVar("Item")
Found = TypeVar("Found")
Kept_contra = TypeVar("Kept_contra", contravariant=True)
Block = tuple[Input, ...]


def blocks_of(inputs: Sequence[Input], size: int) -> list[Block]:
    """The inputs in their order, cut into blocks of `size` inputs; the last may be smaller."""
    return [tuple(inputs[start : start + size]) for start in range(0, len(inputs), size)]


def seed_of(seed: int, ids: Sequence[str]) -> int:
    """The seed of the rollouts of some inputs: it follows from theirs and the run's."""
    return int(content_hash([seed, list(ids)])[:8], 16)


class Blocks(Protocol):
    """What a run is made of, a file for each block."""

    @property
    def blocks(self) -> Sequence[Block]:
        """All blocks of the run, stored or not."""
        ...

    def path(self, index: int) -> Path:
        """The file of a block."""
        ...

    def missing(self) -> list[int]:
        """Numbers of the blocks that are not there, or of which an input is not."""
        ...


class Store(Blocks, Protocol[Kept_contra]):
    """Where the rollouts of a run are kept."""

    def write(self, index: int, rollouts: Rollouts, values: Kept_contra) -> None:
        """Keeps a block; its file appears whole or not at all."""
        ...


@dataclass(frozen=True)
class Writer:
    """Who writes, and how: everything that decides the rollouts of an input but the input itself."""

    model: LanguageModel
    engine: EngineName
    samples: int
    decoding: Decoding
    seed: int
    calculator: bool
    prompt: Callable[[Input], list[int]]
    told: Callable[[str], None] = lambda _: None
    """Gets to know which engine writes, and why that one."""
    stop: tuple[str, ...] = ()
    """Strings that end a rollout."""
    corrected: bool = False
    """Whether rollouts will be weighed by the log-probabilities that they were drawn with."""


def fill(
    writer: Writer,
    score: Callable[[list[list[int]], Rollouts], Values],
    store: Store[Values],
    processes: Processes,
    bar: Bar,
    phases: Phases,
) -> None:
    """Samples, scores and stores the blocks that `store` lacks; each process does its share of them.

    `score` gets the prompts of a block and its rollouts. `bar` advances by inputs, those of the other processes
    included. Returns when all blocks are there, in every process.
    """

    @cache
    def runner() -> Choice:
        with phases.phase("hand-over"):
            found = choose(writer.engine, writer.model)
        if writer.corrected:
            check_tells(found.engine, writer.decoding)
        if processes.main:
            writer.told(str(found))
        return found

    def write(index: int) -> None:
        ids = [one.id for one in store.blocks[index]]
        prompts = [writer.prompt(one) for one in store.blocks[index]]
        engine = runner().engine
        with phases.phase("sampling"):
            rollouts = sample(
                engine,
                writer.model,
                ids,
                prompts,
                writer.samples,
                writer.decoding,
                seed_of(writer.seed, ids),
                calculator=writer.calculator,
                stop=writer.stop,
            )
        with phases.phase("scoring"):
            values = score(prompts, rollouts)
        store.write(index, rollouts, values)

    complete(store, write, processes, bar, phases, writer.model.name)


def complete(
    store: Blocks, write: Callable[[int], None], processes: Processes, bar: Bar, phases: Phases, note: str
) -> None:
    """Lets the processes `write` the blocks that `store` lacks, each its share; `note` stands beside the bar.

    Returns when all blocks are there, in every process.
    """
    missing = processes.agreed(store.missing)
    watch = _Watch(store, missing, bar)
    for index in processes.share(missing):
        write(index)
        watch.look(note)
    with phases.phase("waiting"):
        while processes.main and watch.waiting:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            watch.look(note)
        processes.wait()


def of_all(blocks: Sequence[Item], work: Callable[[Item], Found], processes: Processes) -> list[Found]:
    """What `work` finds of each block, in the order of the blocks and in every process, each doing its share of them.

    This is for what no file keeps. Where processes go in step, one with fewer blocks does the first of them again.
    """
    mine = processes.share(range(len(blocks)))
    idle = processes.in_step(len(mine)) - len(mine) if processes.in_step else 0
    found = {index: work(blocks[index]) for index in mine}
    for _ in range(idle):
        work(blocks[0])
    joined = {index: one for share in processes.everywhere(found) for index, one in share.items()}
    return [joined[index] for index in range(len(blocks))]


class _Watch:
    """Counts the blocks that have come since the start, whoever wrote them.

    A block that is written again has a file from the start: only a newer one counts.
    """

    def __init__(self, store: Blocks, missing: Sequence[int], bar: Bar) -> None:
        self.inputs = {store.path(index): len(store.blocks[index]) for index in missing}
        self.before = {path: _changed(path) for path in self.inputs}
        self.waiting = set(self.inputs)
        self.bar = bar

    def look(self, note: str) -> None:
        """Advances the bar by the inputs of the blocks that are new."""
        come = {path for path in self.waiting if _changed(path) != self.before[path]}
        self.waiting -= come
        self.bar.advance(sum(self.inputs[path] for path in come), note=note)


def _changed(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
