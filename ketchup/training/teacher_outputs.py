"""What the teacher writes for each input: generated once per teacher, task and decoding, then read from a file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ketchup.choices import EngineName, PromptStyle
from ketchup.errors import RunError
from ketchup.files import atomic_write_json
from ketchup.hashes import content_hash
from ketchup.manifests import lock_of_all
from ketchup.methods.base import Trajectory
from ketchup.models.language_model import LanguageModel
from ketchup.phases import Phases
from ketchup.processes import Processes
from ketchup.progress import progress
from ketchup.rollouts.fill import BLOCK, Block, Writer, blocks_of, fill
from ketchup.rollouts.lines import LineStore
from ketchup.rollouts.types import Decoding, Rollouts
from ketchup.tasks.base import Input, Task


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
    inputs: Sequence[Input],
    prompts: Mapping[str, list[int]],
    recipe: Recipe,
    engine_name: EngineName,
    folder: Path,
    processes: Processes,
) -> dict[str, Trajectory]:
    """One output per input and its prompt, by id, under `folder/<hash of the recipe>`; none is generated twice.

    An input is known by the hash of its id and source, so that other rows under the same ids are generated anew.
    A teacher that has something to write is moved to the device of the process.
    """
    place = folder / content_hash(asdict(recipe))
    store = LineStore(place / "outputs.jsonl", place, blocks_of(inputs, BLOCK), _rows)
    writer = Writer(
        teacher,
        engine_name,
        1,
        recipe.decoding,
        recipe.seed,
        task.calculator,
        lambda one: prompts[one.id],
        stop=task.stop,
    )
    # Runs share the folder: whoever comes second waits, and then finds the outputs there.
    with lock_of_all(place, processes, wait=True):
        processes.first(lambda: atomic_write_json(place / "recipe.json", asdict(recipe)))
        missing = store.missing()
        if missing:
            if not teacher.spread:
                network: Any = teacher.network
                network.to(processes.device)
            left = sum(len(store.blocks[index]) for index in missing)
            with progress("teacher outputs", total=len(inputs), unit="inputs", done=len(inputs) - left) as bar:
                fill(writer, lambda _prompts, _rollouts: None, store, processes, bar, Phases())
        processes.first(lambda: store.gather(inputs))
        known = store.known()
    rows = {one.id: known[one.input_hash] for one in inputs}
    return {name: _trajectory(prompts[name], row, teacher.vocabulary, store.file) for name, row in rows.items()}


def _trajectory(prompt: list[int], row: Mapping[str, Any], vocabulary: int, file: Path) -> Trajectory:
    tokens, mask = row.get("tokens"), row.get("chosen")  # files have the action mask under its first name
    if not (
        isinstance(tokens, list)
        and isinstance(mask, list)
        and len(tokens) == len(mask)
        and all(type(token) is int and 0 <= token < vocabulary for token in tokens)
        and all(isinstance(action, bool) for action in mask)
    ):
        raise RunError(
            f'{file} has no output for the input {row["input"]}, but other "tokens" or "chosen"; remove that line and '
            "run again."
        )
    return Trajectory.of(prompt, tokens, mask)


def _rows(block: Block, rollouts: Rollouts, _values: None) -> Iterator[dict[str, Any]]:
    for one, tokens, written, mask in zip(
        block, rollouts.tokens, rollouts.token_mask, rollouts.action_mask, strict=True
    ):
        yield {"id": one.id, "tokens": tokens[written].tolist(), "chosen": mask[written].tolist()}
