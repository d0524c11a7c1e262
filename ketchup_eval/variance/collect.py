"""Samples and scores what is missing of a study's rollouts, block by block, and loses none of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ketchup.hashes import content_hash
from ketchup.models.language_model import LanguageModel
from ketchup.models.prompts import default_style, prompt_ids
from ketchup.models.scoring import score
from ketchup.phases import Phases
from ketchup.progress import Bar
from ketchup.rollouts.engines import engine
from ketchup.rollouts.sampling import sample
from ketchup.tasks.base import Example, Task
from ketchup_eval.variance.rollout_store import part_inputs, part_path, write_part
from ketchup_eval.variance.settings import RolloutSettings

ROWS_PER_PART = 256
"""Rollouts sampled, scored and written together: what a kill can lose at most."""


@dataclass(frozen=True)
class Blocks:
    """The inputs of a study, cut into blocks; block i is kept in part i of every student."""

    blocks: tuple[tuple[Example, ...], ...]

    @classmethod
    def of(cls, examples: Sequence[Example], samples: int) -> "Blocks":
        """Blocks of about `ROWS_PER_PART` rollouts."""
        size = max(1, ROWS_PER_PART // samples)
        return cls(tuple(tuple(examples[start : start + size]) for start in range(0, len(examples), size)))

    @property
    def ids(self) -> list[list[str]]:
        """Ids of the inputs, block by block."""
        return [[example.id for example in block] for block in self.blocks]

    def missing(self, folder: Path) -> list[int]:
        """Numbers of the blocks that `folder` does not hold all inputs of."""
        return [
            index
            for index, block in enumerate(self.blocks)
            if not {example.input_hash for example in block} <= part_inputs(part_path(folder, index))
        ]


def collect(
    settings: RolloutSettings,
    task: Task,
    teacher: LanguageModel,
    student: LanguageModel,
    blocks: Blocks,
    folder: Path,
    bar: Bar,
    phases: Phases,
) -> None:
    """Fills `folder` with the missing parts of one student; `bar` advances by inputs.

    The seed of a block follows from the study's seed and the block's inputs, so a resumed study draws what an unbroken
    one would have drawn. All students share it: their differences are then less noisy, their intervals still right.
    """
    missing = blocks.missing(folder)
    if not missing:
        return
    style = settings.prompt_style or default_style(student)
    with phases.phase("hand-over"):
        runner = engine(settings.engine, student)
    for index in missing:
        block = blocks.blocks[index]
        ids = [example.id for example in block]
        prompts = [prompt_ids(student, task, example, style) for example in block]
        seed = int(content_hash([settings.seed, ids])[:8], 16)
        with phases.phase("sampling"):
            rollouts = sample(
                runner, student, ids, prompts, settings.samples, settings.decoding, seed, calculator=task.calculator
            )
        with phases.phase("scoring"):
            values = score(teacher, student, prompts, rollouts.tokens, rollouts.action_mask)
        write_part(part_path(folder, index), block, rollouts, *values)
        bar.advance(len(block), note=student.name)
