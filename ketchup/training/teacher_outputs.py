"""What the teacher writes for each input: generated once per teacher, task and decoding, then read from a file."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ketchup.files import append_jsonl, atomic_write_json, read_jsonl, run_lock
from ketchup.hashes import content_hash
from ketchup.methods.base import Trajectory
from ketchup.models.language_model import LanguageModel
from ketchup.models.prompts import PromptStyle, prompt_ids
from ketchup.progress import progress
from ketchup.rollouts.engines import engine
from ketchup.rollouts.names import EngineName
from ketchup.rollouts.sampling import sample
from ketchup.rollouts.types import Decoding, Engine
from ketchup.tasks.base import Example, Task

BLOCK = 64
"""Inputs generated and written at once: what a kill can lose at most."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the teacher's outputs, but for the inputs themselves."""

    teacher: str
    teacher_fingerprint: str
    dtype: str
    task: str
    prompt_style: PromptStyle
    decoding: Decoding
    seed: int


def teacher_outputs(
    teacher: LanguageModel,
    task: Task,
    examples: Sequence[Example],
    recipe: Recipe,
    engine_name: EngineName,
    folder: Path,
    device: torch.device | None = None,
) -> dict[str, Trajectory]:
    """One output per example, by id, under `folder/<hash of the recipe>.jsonl`; what is there is not generated again.

    An input is known by the hash of its id and source, so that other rows under the same ids are generated anew.
    A teacher that has something to write is moved to `device`, if one is given.
    """
    key = content_hash(asdict(recipe))
    path = folder / key / "outputs.jsonl"
    prompts = {example.id: prompt_ids(teacher, task, example, recipe.prompt_style) for example in examples}
    blocks = [examples[start : start + BLOCK] for start in range(0, len(examples), BLOCK)]
    with run_lock(path.parent, wait=True):
        atomic_write_json(path.parent / "recipe.json", asdict(recipe))
        known = {row["input"]: row for row in read_jsonl(path)[0]}
        missing = [block for block in blocks if any(example.input_hash not in known for example in block)]
        if missing:
            network: Any = teacher.network
            network.to(device or teacher.device)
            runner = engine(engine_name, teacher)
            with progress("teacher outputs", total=len(blocks), unit="blocks", done=len(blocks) - len(missing)) as bar:
                for block in missing:
                    for row in _generate(runner, teacher, task, block, prompts, recipe):
                        if row["input"] not in known:
                            append_jsonl(path, row)
                            known[row["input"]] = row
                    bar.advance()
    rows = {example.id: known[example.input_hash] for example in examples}
    return {name: Trajectory(prompts[name], row["tokens"], row["chosen"]) for name, row in rows.items()}


def _generate(
    runner: Engine,
    teacher: LanguageModel,
    task: Task,
    block: Sequence[Example],
    prompts: dict[str, list[int]],
    recipe: Recipe,
) -> list[dict[str, Any]]:
    """Rows of a block of inputs; the seed follows from the inputs, so a resumed run writes what an unbroken would."""
    hashes = [example.input_hash for example in block]
    written = sample(
        runner,
        teacher,
        [example.id for example in block],
        [prompts[example.id] for example in block],
        1,
        recipe.decoding,
        int(content_hash([recipe.seed, hashes])[:8], 16),
        calculator=task.calculator,
    )
    return [
        {
            "input": hashes[index],
            "id": example.id,
            "tokens": written.tokens[index][written.token_mask[index]].tolist(),
            "chosen": written.action_mask[index][written.token_mask[index]].tolist(),
        }
        for index, example in enumerate(block)
    ]
