"""A training run from its settings: models, rows, demonstrations, then the loop, inside a run directory."""

from collections.abc import Sequence
from dataclasses import asdict, astuple, replace
from pathlib import Path

from ketchup.errors import UsageError
from ketchup.hashes import content_hash
from ketchup.methods import METHODS
from ketchup.methods.base import Demonstration, Method
from ketchup.models.language_model import LanguageModel
from ketchup.models.loading import check_same_vocabulary, load
from ketchup.models.prompts import PromptStyle, default_style, prompt_ids, target_ids
from ketchup.progress import progress
from ketchup.rollouts.sampling import Calculator
from ketchup.rollouts.types import Decoding
from ketchup.runs import check_same_settings, run_lock
from ketchup.tasks import task as task_named
from ketchup.tasks.base import Example, Split, Task
from ketchup.tasks.rows import load_examples
from ketchup.training.loop import total_steps, train
from ketchup.training.settings import TrainSettings
from ketchup.training.teacher_outputs import Recipe, teacher_outputs


def run_training(settings: TrainSettings, run: Path, outputs: Path) -> Path:
    """Trains as `settings` say in the directory `run`; goes on where an earlier process was stopped.

    `outputs` is the folder of cached teacher outputs, shared by runs. Returns the last checkpoint's folder.
    """
    method, task = _method(settings), _task(settings)
    if method.tokens == "teacher" and settings.teacher is None:
        raise UsageError(f"The method {method.name!r} learns from a teacher's outputs; name one with --teacher.")
    if method.tokens == "reference" and settings.teacher is not None:
        raise UsageError(f"The method {method.name!r} learns from references and takes no --teacher.")
    examples: dict[Split, list[Example]] = {
        "train": load_examples(task, "train", settings.data, settings.limit),
        "validation": load_examples(task, "validation", settings.data, settings.validation_limit),
    }
    student = load(settings.student)
    with run_lock(run):
        prints = {"student_fingerprint": student.fingerprint, "rows_fingerprint": _fingerprint(examples)}
        check_same_settings(run, {**asdict(settings), **prints})
        rows = _demonstrations(settings, method, task, student, examples, outputs)
        return train(settings, method, student, rows["train"], rows["validation"], run)


def describe(settings: TrainSettings, run: Path) -> str:
    """What `run_training` would do and how much of it, without loading a model."""
    method, task = _method(settings), _task(settings)
    inputs = len(load_examples(task, "train", settings.data, settings.limit))
    steps = total_steps(settings, inputs)
    seen = steps * settings.batch_size * settings.accumulation
    return (
        f"{method.name} of {settings.student} on {task.name}: {inputs:,} training inputs, {steps:,} optimiser "
        f"steps, {seen:,} inputs seen ({seen / inputs:.2f} epochs), into {run}"
    )


def _method(settings: TrainSettings) -> Method:
    try:
        return METHODS[settings.method]
    except KeyError as error:
        raise UsageError(f"There is no method {settings.method!r}; use one of {', '.join(METHODS)}.") from error


def _fingerprint(examples: dict[Split, list[Example]]) -> str:
    """Changes whenever a row does, so that no run goes on with other data under the same names."""
    return content_hash({split: [astuple(example) for example in rows] for split, rows in examples.items()})


def _task(settings: TrainSettings) -> Task:
    task = task_named(settings.task)
    limit = settings.max_new_tokens
    return task if limit is None else replace(task, max_new_tokens=limit)


def _demonstrations(
    settings: TrainSettings,
    method: Method,
    task: Task,
    student: LanguageModel,
    examples: dict[Split, list[Example]],
    outputs: Path,
) -> dict[str, list[Demonstration]]:
    style = settings.prompt_style or default_style(student)
    if method.tokens == "reference":
        return {split: _references(student, task, rows, style) for split, rows in examples.items()}
    teacher = load(str(settings.teacher))
    check_same_vocabulary(teacher, student)
    recipe = Recipe(
        teacher=teacher.name,
        teacher_fingerprint=teacher.fingerprint,
        task=task.name,
        prompt_style=style,
        decoding=Decoding(task.max_new_tokens, temperature=settings.teacher_temperature),
        seed=settings.seed,
    )
    written = {
        split: teacher_outputs(teacher, task, rows, recipe, settings.engine, outputs)
        for split, rows in examples.items()
    }
    return {split: list(written[split].values()) for split in examples}


def _references(
    student: LanguageModel, task: Task, examples: Sequence[Example], style: PromptStyle
) -> list[Demonstration]:
    """The data set's own answers; results that the calculator would write are no actions."""
    machine = Calculator(student) if task.calculator else None
    rows = []
    with progress("tokenise", total=len(examples), unit="rows") as bar:
        for example in examples:
            tokens = target_ids(student, task, example.reference)
            chosen = machine.action_mask(tokens) if machine else [True] * len(tokens)
            rows.append(Demonstration(prompt_ids(student, task, example, style), tokens, chosen))
            bar.advance()
    return rows
