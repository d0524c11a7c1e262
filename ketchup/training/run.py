"""A training run from its settings: models, rows, trajectories, then the loop, inside a run directory."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ketchup import plugins
from ketchup.choices import PromptStyle, Split
from ketchup.devices import Placement, placement
from ketchup.hashes import content_hash
from ketchup.manifests import run_of_all
from ketchup.methods.base import Method, Trajectory, Writer
from ketchup.models.language_model import LanguageModel
from ketchup.models.loading import check_same_vocabulary, load
from ketchup.models.memory import check_room
from ketchup.models.prompts import default_style, prompt_ids, target_ids
from ketchup.models.teacher import Teacher, check_same_tokens, here, teacher_of
from ketchup.processes import Processes
from ketchup.progress import progress
from ketchup.rollouts.calculator import Calculator
from ketchup.rollouts.names import row_of
from ketchup.rollouts.types import Decoding
from ketchup.runs import OF_TRAINING, Run
from ketchup.tasks import task_named
from ketchup.tasks.base import Input, Task
from ketchup.tasks.metric import TaskMetric
from ketchup.tasks.rows import load_inputs
from ketchup.training.adapters import AdapterWeights
from ketchup.training.experience import Inputs
from ketchup.training.loop import total_steps, train
from ketchup.training.refusals import check_training, method_of
from ketchup.training.selection import selection
from ketchup.training.shards import ShardedWeights, shard
from ketchup.training.teacher_outputs import Recipe, teacher_outputs
from ketchup.training.train_settings import TrainSettings
from ketchup.training.weights import StudentWeights


def run_training(
    settings: TrainSettings, run: Run, outputs: Path, trackers: Sequence[str] = (), metric: TaskMetric | None = None
) -> Path:
    """Trains as `settings` say; goes on where an earlier process was stopped.

    `outputs` is the folder of cached teacher outputs, shared by runs; `trackers` are shown the metrics as well.
    `metric` is the one that `settings.select` names, where that is one of the task. Returns the folder of
    the last checkpoint.
    """
    method, task = method_of(settings), _task(settings)
    # Rows first: what is wrong with them is told in a second, and models take minutes to load.
    inputs: dict[Split, list[Input]] = {
        "train": load_inputs(task, "train", settings.data, settings.limit),
        "validation": load_inputs(task, "validation", settings.data, settings.validation_limit),
    }
    chosen = selection(settings.select, method, metric, inputs["validation"])
    processes = Processes(
        settings.precision,
        trackers,
        str(run),
        sharded=settings.shard,
        device=settings.device,
        gpus_each=row_of(settings.engine)[1],
    )
    placed = placement(processes.device, settings.where)
    settings.check_fits(total_steps(settings, len(inputs["train"]), processes.count))
    weights = _weights(settings, placed, processes, samples=method.compares or metric is not None)
    student = weights.model
    _check_room(weights, processes)
    teacher = _teacher(settings, student, placed, run) if settings.teacher else None
    if method.sampling:
        Decoding(task.max_new_tokens, top_k=method.sampling.top_k).check_fits(student)
    style = settings.prompt_style or default_style(student)
    asked = {split: _prompts(method, task, student, teacher, rows, style) for split, rows in inputs.items()}
    recorded = {
        **settings.recorded(),
        **(chosen.recorded if settings.select else {}),
        **placed.recorded,
        **task.recorded,
        **plugins.recorded(),
        "precision": "bfloat16" if processes.narrow else "float32",
        "options": method.options,
        "student_fingerprint": student.fingerprint,
        "teacher_fingerprint": teacher.fingerprint if teacher else None,
        "rows_fingerprint": _fingerprint(inputs),
        "processes": processes.count,
    }
    with run_of_all(run.folder, recorded, processes, results=OF_TRAINING):
        processes.track("ketchup", recorded)
        prepared = {
            split: _inputs(
                settings, method, task, student, here(teacher), rows, asked[split], style, outputs, processes
            )
            for split, rows in inputs.items()
        }
        compared = teacher if method.compares else None
        if settings.shard:
            compared = shard(compared, processes) if isinstance(compared, LanguageModel) else compared
        folder = train(
            settings,
            method,
            task,
            weights,
            compared,
            prepared["train"],
            prepared["validation"],
            chosen,
            run,
            processes,
        )
        processes.finish()
    return folder


def describe_training(settings: TrainSettings, run: Run, metric: TaskMetric | None = None, processes: int = 1) -> str:
    """One line on what a run of so many processes would do."""
    method, chosen = check_training(settings, metric)
    task = _task(settings)
    inputs = len(load_inputs(task, "train", settings.data, settings.limit))
    steps = total_steps(settings, inputs, processes)
    settings.check_fits(steps)
    seen = steps * settings.batch_size * settings.accumulation * processes
    options = "".join(f", {name} {value}" for name, value in method.options.items())
    return (
        f"{method.name} of {settings.student} on {task.name}: {inputs:,} training inputs, {steps:,} optimiser "
        f"steps, {seen:,} inputs seen ({seen / inputs:.2f} epochs){options}, "
        f"the best checkpoint by validation {chosen.name}, into {run}"
    )


def _weights(settings: TrainSettings, placed: Placement, processes: Processes, *, samples: bool) -> StudentWeights:
    student = load(settings.student, dtype=placed.student)  # the loop moves it, once all processes agree
    if settings.lora:
        return AdapterWeights(student, settings.lora, settings.seed)
    if settings.shard:
        return ShardedWeights(student, processes, samples=samples)
    return StudentWeights(student)


def _check_room(weights: StudentWeights, processes: Processes) -> None:
    """Beside its weights, training keeps a gradient and two moments in float32 of each weight it moves."""
    remedy = "use a smaller student, --lora, --shard over more processes, or a device with more memory"
    check_room(f"Training {weights.model.name!r}", weights.kept, 12, processes.device, remedy)


def _teacher(settings: TrainSettings, student: LanguageModel, placed: Placement, run: Run) -> Teacher:
    name = str(settings.teacher)
    if settings.shard and settings.teacher_url is None:
        teacher = load(name, dtype=placed.teacher)  # it may not fit the device as a whole
        check_same_vocabulary(teacher, student)
        return teacher
    asked = teacher_of(name, placed, run.folder)
    check_same_tokens(asked, student)
    return asked


def _fingerprint(inputs: dict[Split, list[Input]]) -> str:
    """Changes whenever a row does, so that no run goes on with other data under the same names."""
    return content_hash({split: [(row.id, row.source, row.answer) for row in rows] for split, rows in inputs.items()})


def _task(settings: TrainSettings) -> Task:
    task = task_named(settings.task)
    limit = settings.max_new_tokens
    return task if limit is None else replace(task, max_new_tokens=limit)


def _prompts(
    method: Method,
    task: Task,
    student: LanguageModel,
    teacher: Teacher | None,
    inputs: Sequence[Input],
    style: PromptStyle,
) -> dict[Writer, dict[str, list[int]]]:
    """What the student is asked, and the teacher if it writes, by the inputs' ids; both models can read all of it."""
    readers = [student, teacher] if teacher else [student]
    writers: dict[Writer, LanguageModel] = {"student": student}
    if isinstance(teacher, LanguageModel) and "teacher" in method.writers:
        writers["teacher"] = teacher
    return {
        writer: {one.id: prompt_ids(model, task, one, style, readers) for one in inputs}
        for writer, model in writers.items()
    }


def _inputs(
    settings: TrainSettings,
    method: Method,
    task: Task,
    student: LanguageModel,
    teacher: LanguageModel | None,
    inputs: Sequence[Input],
    asked: Mapping[Writer, Mapping[str, list[int]]],
    style: PromptStyle,
    outputs: Path,
    processes: Processes,
) -> Inputs:
    """A split's prompts, with the trajectories of each writer that the method learns from but the student."""
    prompts = list(asked["student"].values())
    given: dict[Writer, Sequence[Trajectory]] = {}
    if "reference" in method.writers:
        given["reference"] = _references(student, task, inputs, prompts)
    if "teacher" in method.writers:
        assert teacher is not None
        given["teacher"] = _teacher_outputs(
            settings, task, teacher, style, inputs, asked["teacher"], outputs, processes
        )
    return Inputs([one.id for one in inputs], prompts, given)


def _teacher_outputs(
    settings: TrainSettings,
    task: Task,
    teacher: LanguageModel,
    style: PromptStyle,
    inputs: Sequence[Input],
    prompts: Mapping[str, list[int]],
    outputs: Path,
    processes: Processes,
) -> list[Trajectory]:
    recipe = Recipe(
        teacher=teacher.name,
        teacher_fingerprint=teacher.fingerprint,
        dtype=str(teacher.network.dtype),
        task=task.key,
        prompt_style=style,
        decoding=Decoding(task.max_new_tokens, temperature=settings.teacher_temperature),
        seed=settings.seed if settings.teacher_temperature else 0,  # greedy outputs know no seed
    )
    found = teacher_outputs(teacher, task, inputs, prompts, recipe, settings.engine, outputs, processes)
    return list(found.values())


def _references(
    student: LanguageModel, task: Task, inputs: Sequence[Input], prompts: Sequence[list[int]]
) -> list[Trajectory]:
    """The data set's own answers; results that the calculator would write are no actions."""
    machine = Calculator(student) if task.calculator else None
    rows = []
    with progress("tokenise", total=len(inputs), unit="rows") as bar:
        for one, prompt in zip(inputs, prompts, strict=True):
            tokens = target_ids(student, task, one.reference)
            mask = machine.action_mask(tokens) if machine else [True] * len(tokens)
            rows.append(Trajectory.of(prompt, tokens, mask))
            bar.advance()
    return rows
