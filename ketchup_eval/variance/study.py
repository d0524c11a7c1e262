"""A variance study from its settings: rollouts of each student, then every K, tail and gauge from the same q and v."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path

from ketchup import plugins
from ketchup.devices import Placement, placement
from ketchup.hashes import content_hash
from ketchup.manifests import note_circumstances, run_of_all
from ketchup.models.language_model import LanguageModel
from ketchup.models.placement import load_student
from ketchup.models.prompts import default_style, prompt_ids
from ketchup.models.scoring import StudentValues, TeacherValues
from ketchup.models.teacher import Teacher, check_same_tokens, score, teacher_of
from ketchup.phases import Phases
from ketchup.processes import Processes
from ketchup.progress import progress
from ketchup.rollouts.fill import Writer, blocks_of, fill
from ketchup.rollouts.names import row_of
from ketchup.rollouts.types import Decoding, Rollouts
from ketchup.runs import OF_VARIANCE, Run
from ketchup.tasks import task_named
from ketchup.tasks.base import Input, Task
from ketchup.tasks.rows import load_inputs
from ketchup.where import Where
from ketchup_eval.variance.gradient.gradient_settings import check_inputs
from ketchup_eval.variance.gradient.study import GradientStudy
from ketchup_eval.variance.result import VarianceResult, student_result
from ketchup_eval.variance.rollout_store import PartStore
from ketchup_eval.variance.variance_settings import AnalysisSettings, RolloutSettings

ROWS_PER_PART = 256
"""Rollouts sampled, scored and written together: what a kill can lose at most."""


def run_variance(
    rollouts: RolloutSettings,
    analysis: AnalysisSettings,
    run: Run,
    finish: Callable[[VarianceResult], None],
    where: Where = Where(),  # noqa: B008 (it is frozen)
) -> None:
    """Samples what `run` lacks, then computes all estimates; a stopped study goes on with the same call.

    Other K, tails or gauges sample nothing and take seconds. Rows whose text has changed are sampled anew. Several
    processes share the blocks; the main one computes and hands the result to `finish` while the run is still locked,
    so that no other command sees new rollouts beside old results.
    """
    phases = Phases()
    task = replace(task_named(rollouts.task), max_new_tokens=rollouts.decoding.max_new_tokens)
    inputs = _inputs(task, rollouts, analysis)
    stores = part_stores(rollouts, inputs, run)
    processes = Processes(device=where.device, gpus_each=row_of(rollouts.engine)[1])
    placed = placement(processes.device, where)
    with phases.phase("loading"):
        teacher, students = _load(rollouts, placed, run)
    writers = [
        _writer(rollouts, task, teacher, student, store, run, corrected=analysis.correct_sampler)
        for student, store in zip(students, stores, strict=True)
    ]
    studies = _gradients(students, stores, analysis, run)
    prints = {model.name: model.fingerprint for model in (teacher, *students)}
    recorded = {**asdict(rollouts), **placed.recorded, **task.recorded, "fingerprints": prints}
    alike = {**analysis.alike, "rows_fingerprint": content_hash([one.input_hash for one in inputs])}
    with run_of_all(run.folder, recorded, processes, results=OF_VARIANCE, alike=alike):
        if processes.main:
            note_circumstances(run.folder, **plugins.recorded())
        left = sum(_missing_inputs(store) for store in stores)
        total = len(inputs) * len(students)
        with progress("rollouts", total=total, unit="inputs", done=total - left) as bar:
            for writer, store in zip(writers, stores, strict=True):
                fill(writer, partial(_scored, rollouts.decoding, teacher, writer.model), store, processes, bar, phases)
        if studies:
            _take_gradients(studies, writers, processes, phases)
        if processes.main:
            with phases.phase("estimates"):
                results = [
                    student_result(name, store, rollouts, analysis)
                    for name, store in zip(rollouts.students, stores, strict=True)
                ]
            if studies:
                with phases.phase("estimates of gradients"):
                    results = [
                        replace(result, gradient=study.result()) for result, study in zip(results, studies, strict=True)
                    ]
            results.sort(key=lambda result: -(result.distance.value or 0))
            finish(VarianceResult(rollouts, analysis, len(inputs), results, phases.report()))


def describe_variance(rollouts: RolloutSettings, analysis: AnalysisSettings, run: Run) -> str:
    """What `run_variance` would do and how much of it, without loading a model."""
    task = task_named(rollouts.task)
    inputs = _inputs(task, rollouts, analysis)
    lines = [
        f"{task.name} ({rollouts.split}): {len(inputs):,} inputs x {rollouts.samples} samples of at most "
        f"{rollouts.decoding.max_new_tokens} tokens, teacher {rollouts.teacher}, into {run}"
    ]
    for name, store in zip(rollouts.students, part_stores(rollouts, inputs, run), strict=True):
        missing = _missing_inputs(store)
        at_most = missing * rollouts.samples * rollouts.decoding.max_new_tokens
        lines.append(f"  {name}: {missing:,} inputs to sample and score, at most {at_most:,} tokens")
    return "\n".join(lines)


def _inputs(task: Task, rollouts: RolloutSettings, analysis: AnalysisSettings) -> Sequence[Input]:
    inputs = load_inputs(task, rollouts.split, rollouts.data, analysis.limit)
    if analysis.gradient:
        check_inputs(len(inputs))
    return inputs


def part_stores(rollouts: RolloutSettings, inputs: Sequence[Input], run: Run) -> list[PartStore]:
    """The rollouts of each student, in blocks of about `ROWS_PER_PART`.

    Folders are numbered, as two models may end in the same folder name. The seed of a block follows from its inputs
    alone, so that all students share it: their differences are then less noisy, their intervals still right.
    """
    blocks = blocks_of(inputs, max(1, ROWS_PER_PART // rollouts.samples))
    return [
        PartStore(run.rollouts / f"{index}-{Path(name).name}", blocks)
        for index, name in enumerate(rollouts.students, start=1)
    ]


def _load(rollouts: RolloutSettings, placed: Placement, run: Run) -> tuple[Teacher, list[LanguageModel]]:
    students = [load_student(name, placed) for name in rollouts.students]
    teacher = teacher_of(rollouts.teacher, placed, run.folder)  # it may take what the students leave
    for student in students:
        check_same_tokens(teacher, student)
    return teacher, students


def _writer(
    rollouts: RolloutSettings,
    task: Task,
    teacher: Teacher,
    student: LanguageModel,
    store: PartStore,
    run: Run,
    *,
    corrected: bool,
) -> Writer:
    """The student at work on what the store lacks; raises `ModelError` where teacher or student cannot read it."""
    rollouts.decoding.check_fits(student)
    style = rollouts.prompt_style or default_style(student)

    @cache
    def prompt(one: Input) -> list[int]:
        return prompt_ids(student, task, one, style, [teacher])

    for index in store.missing():
        for one in store.blocks[index]:
            prompt(one)
    return Writer(
        student,
        rollouts.engine,
        rollouts.samples,
        rollouts.decoding,
        rollouts.seed,
        task.calculator,
        prompt,
        lambda engine: note_circumstances(run.folder, engines={student.name: engine}),
        task.stop,
        corrected,
    )


def _scored(
    decoding: Decoding, teacher: Teacher, student: LanguageModel, prompts: Sequence[list[int]], rollouts: Rollouts
) -> tuple[TeacherValues, StudentValues]:
    drawn = (decoding.temperature, decoding.top_k)
    return score(teacher, student, prompts, rollouts.tokens, rollouts.action_mask, None, *drawn)


def _missing_inputs(store: PartStore) -> int:
    return sum(len(store.blocks[index]) for index in store.missing())


def _gradients(
    students: Sequence[LanguageModel], stores: Sequence[PartStore], analysis: AnalysisSettings, run: Run
) -> list[GradientStudy]:
    """Those of all students, if they were asked for; raises what is wrong with them before anything is sampled."""
    if analysis.gradient is None:
        return []
    return [
        GradientStudy.of(student, store, run.gradients / store.folder.name, analysis.gradient, analysis.gauge)
        for student, store in zip(students, stores, strict=True)
    ]


def _take_gradients(
    studies: Sequence[GradientStudy], writers: Sequence[Writer], processes: Processes, phases: Phases
) -> None:
    total = sum(len(block) for study in studies for block in study.store.blocks)
    left = sum(study.missing_inputs for study in studies)
    with progress("gradients", total=total, unit="inputs", done=total - left) as bar:
        for writer, study in zip(writers, studies, strict=True):
            study.fill(writer.prompt, processes, bar, phases)
