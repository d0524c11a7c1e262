"""A variance study from its settings: rollouts of each student, then every K, tail and gauge from the same q and v."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ketchup import plugins
from ketchup.devices import Placement, Where, placement
from ketchup.estimators.numbers import gauge_needs
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
from ketchup.rollouts.types import Decoding, Rollouts
from ketchup.runs import OF_VARIANCE, Run
from ketchup.tasks import task as task_named
from ketchup.tasks.base import Example, Task
from ketchup.tasks.rows import load_examples
from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.intervals import ENOUGH, Concentration, concentration
from ketchup_eval.stats.proportions import shares
from ketchup_eval.variance.estimates import ReturnEstimate, summarise
from ketchup_eval.variance.gradient.settings import check_inputs
from ketchup_eval.variance.gradient.study import GradientResult, GradientStudy
from ketchup_eval.variance.lengths import length_variances
from ketchup_eval.variance.per_input import InputStatistics, PerInput, concatenate
from ketchup_eval.variance.rollout_store import PartStore, ScoredBlock
from ketchup_eval.variance.sampler import SamplerGap, gap_columns, sampler_gap, weights_of
from ketchup_eval.variance.settings import AnalysisSettings, RolloutSettings

CORRECT = "--correct-sampler"
Of = Literal["returns", "gradients"]
ROWS_PER_PART = 256
"""Rollouts sampled, scored and written together: what a kill can lose at most."""


@dataclass(frozen=True)
class StudentResult:
    """One student: how far it is from the teacher, and what each estimator does to its return.

    `kl` is KL(teacher‖student) per action in nats, over the full vocabulary, on the student's own rollouts. Of a
    teacher that does not tell all its logits there is `reverse_kl` in its place: the mean of log π - log p over the
    actions, which estimates KL(student‖teacher). `mean_return` is E[G_0] (Eq. 10) in the raw gauge, of such a teacher
    in the gauge logprob; `mean_length` counts actions; `ended` is the share that chose eos
    in time. `length_share` is the share of Var[G_0] within inputs that is linear in the length of the rollout: what the
    terms of a return have in common because they end together; absent below three samples. `concentration` is that of
    Var[G_0] over the inputs. `longest` counts the actions of the longest rollout. `sampler` is how far the engine was
    from the student as it is scored, absent where the engine did not tell.
    """

    name: str
    kl: Estimate | None
    mean_return: Estimate
    mean_length: Estimate
    longest: int
    ended: Estimate
    length_share: Estimate
    concentration: Concentration | None
    estimates: list[ReturnEstimate]
    sampler: SamplerGap | None = None
    gradient: GradientResult | None = None
    reverse_kl: Estimate | None = None

    @property
    def distance(self) -> Estimate:
        """How far the student is from the teacher, by the KL that is known."""
        found = self.reverse_kl if self.kl is None else self.kl
        assert found is not None
        return found

    @property
    def enough_inputs(self) -> bool:
        """Whether the variance rests on so many inputs that intervals can be taken at their word."""
        return self.concentration is None or self.concentration.effective >= ENOUGH


@dataclass(frozen=True)
class VarianceResult:
    """A whole study: its settings in short, its students by falling KL, and where the time went."""

    rollouts: RolloutSettings
    analysis: AnalysisSettings
    inputs: int
    students: list[StudentResult]
    seconds: dict[str, float]

    def frame(self, of: Of = "returns") -> Any:
        """The numbers as a pandas frame, a row for each student, estimator and quantity; absent ones are NaN.

        Of `returns`, as in `variance.csv`, the columns are student, kl, estimator, tail, k, quantity, value, low, high
        and n. Of `gradients`, where they were measured, baseline and batch stand for tail and k.
        """
        from ketchup_eval.variance.frames import frame  # noqa: PLC0415  (pandas takes its time)

        return frame(self, of)


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
    examples = _examples(task, rollouts, analysis)
    stores = part_stores(rollouts, examples, run)
    processes = Processes(device=where.device)
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
    with run_of_all(run.folder, recorded, processes, results=OF_VARIANCE):
        if processes.main:
            note_circumstances(run.folder, **plugins.recorded())
        left = sum(_missing_inputs(store) for store in stores)
        total = len(examples) * len(students)
        with progress("rollouts", total=total, unit="inputs", done=total - left) as bar:
            for writer, store in zip(writers, stores, strict=True):
                fill(writer, partial(_scored, rollouts.decoding, teacher, writer.model), store, processes, bar, phases)
        if studies:
            _take_gradients(studies, writers, processes, phases)
        if processes.main:
            with phases.phase("estimates"):
                results = [
                    _student_result(name, store, rollouts, analysis)
                    for name, store in zip(rollouts.students, stores, strict=True)
                ]
            if studies:
                with phases.phase("estimates of gradients"):
                    results = [
                        replace(result, gradient=study.result()) for result, study in zip(results, studies, strict=True)
                    ]
            results.sort(key=lambda result: -(result.distance.value or 0))
            finish(VarianceResult(rollouts, analysis, len(examples), results, phases.report()))


def describe(rollouts: RolloutSettings, analysis: AnalysisSettings, run: Run) -> str:
    """What `run_variance` would do and how much of it, without loading a model."""
    task = task_named(rollouts.task)
    examples = _examples(task, rollouts, analysis)
    lines = [
        f"{task.name} ({rollouts.split}): {len(examples):,} inputs x {rollouts.samples} samples of at most "
        f"{rollouts.decoding.max_new_tokens} tokens, teacher {rollouts.teacher}, into {run}"
    ]
    for name, store in zip(rollouts.students, part_stores(rollouts, examples, run), strict=True):
        inputs = _missing_inputs(store)
        at_most = inputs * rollouts.samples * rollouts.decoding.max_new_tokens
        lines.append(f"  {name}: {inputs:,} inputs to sample and score, at most {at_most:,} tokens")
    return "\n".join(lines)


def _examples(task: Task, rollouts: RolloutSettings, analysis: AnalysisSettings) -> Sequence[Example]:
    examples = load_examples(task, rollouts.split, rollouts.data, analysis.limit)
    if analysis.gradient:
        check_inputs(len(examples))
    return examples


def part_stores(rollouts: RolloutSettings, examples: Sequence[Example], run: Run) -> list[PartStore]:
    """The rollouts of each student, in blocks of about `ROWS_PER_PART`.

    Folders are numbered, as two models may end in the same folder name. The seed of a block follows from its inputs
    alone, so that all students share it: their differences are then less noisy, their intervals still right.
    """
    blocks = blocks_of(examples, max(1, ROWS_PER_PART // rollouts.samples))
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
    def prompt(example: Example) -> list[int]:
        return prompt_ids(student, task, example, style, [teacher])

    for index in store.missing():
        for example in store.blocks[index]:
            prompt(example)
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


def _student_result(
    name: str, store: PartStore, rollouts: RolloutSettings, analysis: AnalysisSettings
) -> StudentResult:
    per_input, over = PerInput(analysis.estimators, analysis.gauge), analysis.intervals
    statistics: list[InputStatistics] = []
    blocks, gaps, longest = [], [], 0
    for part in store.read(_wanted(rollouts, analysis)):
        longest = max(longest, part.mask.shape[2])
        weights = weights_of(part) if analysis.correct_sampler else None
        statistics.append(per_input(part.numbers, None if weights is None else torch.from_numpy(weights)))
        blocks.append(_description(part, weights))
        gaps.append(gap_columns(part))
    mean_returns, mean_lengths, actions, distance, ended, samples, *by_length = np.concatenate(blocks, axis=1)[
        :, :, None
    ]
    over_inputs = concatenate(statistics)
    return StudentResult(
        name,
        kl=None if analysis.served else over.ratios(distance, actions)[0],
        reverse_kl=over.ratios(distance, actions)[0] if analysis.served else None,
        mean_return=over.means(mean_returns)[0],
        mean_length=over.means(mean_lengths)[0],
        longest=longest,
        ended=shares(ended, samples)[0],
        length_share=over.ratios(*by_length)[0],
        concentration=concentration(over_inputs.variance[:, 0]),
        estimates=summarise(over_inputs, analysis.gauge, over)[1:],
        sampler=sampler_gap(gaps, over, corrected=analysis.correct_sampler),
    )


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


def _wanted(rollouts: RolloutSettings, analysis: AnalysisSettings) -> dict[str, str | None]:
    """The stored values that are read, and who needs each."""
    told = ("logsumexp",) if analysis.served else ("kl",)
    wanted: dict[str, str | None] = dict.fromkeys(("q", "v", "log_prob", *told), "the table")
    for row in analysis.estimators:
        wanted |= dict.fromkeys(row.needs | gauge_needs(row.gauge or analysis.gauge), row.name)
    if wanted["log_prob"] != "the table" and (rollouts.decoding.temperature not in (0, 1) or rollouts.decoding.top_k):
        # Parts from before Ē was kept have log π of the student as it is, not of the distribution that was sampled.
        wanted.setdefault("own_value", wanted["log_prob"] if not analysis.served else None)
    wanted["sampler_log_prob"] = CORRECT if analysis.correct_sampler else None
    return wanted


def _description(part: ScoredBlock, weights: Array | None) -> Array:
    """What describes each input beside the estimates, [8, I].

    Mean return, mean length, all actions, their distance, rollouts that ended, rollouts, and `length_variances`;
    rollouts count as their `weights` [I, N].
    """
    returns, lengths = _returns(part), part.mask.sum(2).astype(float)
    counted = np.ones_like(lengths) if weights is None else weights / weights.mean(1, keepdims=True)
    rows = [
        (counted * returns).mean(1),
        (counted * lengths).mean(1),
        (counted * lengths).sum(1),
        (counted * _distances(part).sum(2)).sum(1),
        (counted * part.ended).sum(1),
        np.full(len(lengths), lengths.shape[1]),
        *length_variances(returns, lengths, weights).T,
    ]
    return np.stack(rows).astype(float)


def _distances(part: ScoredBlock) -> Array:
    """KL(teacher‖student) of each state or, where it is not known, log π - log p of each action; [I, N, T]."""
    known = part.values
    return known["kl"] if "kl" in known else known["log_prob"] - (known["q"] - known["logsumexp"])


def _returns(part: ScoredBlock) -> Array:
    """G_0 = v_0 + Σ_t A_t of each rollout, [I, N], raw gauge."""
    advantages = np.where(part.mask, part.values["q"] - part.values["v"], 0.0)
    returns: Array = part.values["v"][:, :, 0] + advantages.sum(2)
    return returns
