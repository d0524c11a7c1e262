"""A variance study from its settings: rollouts of each student, then every K, tail and gauge from the same q and v."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ketchup.files import run_lock
from ketchup.maths.gauges import in_gauge
from ketchup.models.language_model import LanguageModel
from ketchup.models.loading import check_same_vocabulary, load
from ketchup.progress import progress
from ketchup.runs import check_same_settings
from ketchup.tasks import task as task_named
from ketchup.tasks.base import Example
from ketchup.tasks.rows import load_examples
from ketchup_eval.stats.bootstrap import Array, Bootstrap, Estimate
from ketchup_eval.variance.collect import Blocks, Phases, collect
from ketchup_eval.variance.estimates import (
    InputStatistics,
    KEstimate,
    concatenate,
    per_input_statistics,
    summarise,
)
from ketchup_eval.variance.rollout_store import ScoredBlock, read_blocks
from ketchup_eval.variance.settings import AnalysisSettings, RolloutSettings


@dataclass(frozen=True)
class StudentResult:
    """One student: how far it is from the teacher, and what each K does to its return.

    `kl` is KL(teacher‖student) per action in nats, over the full vocabulary, on the student's own rollouts;
    `mean_return` is E[G_0] (Eq. 10) in the raw gauge; `mean_length` counts actions; `ended` is the share that chose eos
    in time. `length_share` is the share of Var[G_0] within inputs that is linear in the length of the rollout: what the
    terms of a return have in common because they end together.
    """

    name: str
    kl: Estimate
    mean_return: Estimate
    mean_length: Estimate
    ended: Estimate
    length_share: Estimate
    estimates: list[KEstimate]


@dataclass(frozen=True)
class VarianceResult:
    """A whole study: its settings in short, its students by falling KL, and where the time went."""

    rollouts: RolloutSettings
    analysis: AnalysisSettings
    inputs: int
    students: list[StudentResult]
    seconds: dict[str, float]


def run_variance(rollouts: RolloutSettings, analysis: AnalysisSettings, run: Path) -> VarianceResult:
    """Samples what `run` lacks, then computes all estimates; a stopped study goes on with the same call.

    Other K, tails or gauges sample nothing and take seconds. Rows whose text has changed are sampled anew.
    """
    phases = Phases()
    task = task_named(rollouts.task)
    examples = load_examples(task, rollouts.split, rollouts.data, analysis.limit)
    blocks = Blocks.of(examples, rollouts.samples)
    folders = student_folders(rollouts, run)
    with phases.phase("loading"):
        teacher, students = _load(rollouts)
    with run_lock(run):
        prints = {model.name: model.fingerprint for model in (teacher, *students)}
        check_same_settings(run, {**asdict(rollouts), "fingerprints": prints}, results=("rollouts/*/part-*.parquet",))
        done = sum(len(examples) - _inputs(blocks, blocks.missing(folder)) for folder in folders)
        with progress("rollouts", total=len(examples) * len(students), unit="inputs", done=done) as bar:
            for student, folder in zip(students, folders, strict=True):
                collect(rollouts, task, teacher, student, blocks, folder, bar, phases)
        with phases.phase("estimates"):
            results = [
                _student_result(name, read_blocks(folder, blocks.ids), rollouts, analysis)
                for name, folder in zip(rollouts.students, folders, strict=True)
            ]
    results.sort(key=lambda result: -(result.kl.value or 0))
    return VarianceResult(rollouts, analysis, len(examples), results, phases.report())


def describe(rollouts: RolloutSettings, analysis: AnalysisSettings, run: Path) -> str:
    """What `run_variance` would do and how much of it, without loading a model."""
    task = task_named(rollouts.task)
    examples: Sequence[Example] = load_examples(task, rollouts.split, rollouts.data, analysis.limit)
    blocks = Blocks.of(examples, rollouts.samples)
    missing = [_inputs(blocks, blocks.missing(folder)) for folder in student_folders(rollouts, run)]
    lines = [
        f"{task.name} ({rollouts.split}): {len(examples):,} inputs x {rollouts.samples} samples of at most "
        f"{rollouts.decoding.max_new_tokens} tokens, teacher {rollouts.teacher}, into {run}"
    ]
    for name, inputs in zip(rollouts.students, missing, strict=True):
        at_most = inputs * rollouts.samples * rollouts.decoding.max_new_tokens
        lines.append(f"  {name}: {inputs:,} inputs to sample and score, at most {at_most:,} tokens")
    return "\n".join(lines)


def student_folders(rollouts: RolloutSettings, run: Path) -> list[Path]:
    """Where the rollouts of each student are: numbered, as two models may end in the same folder name."""
    return [run / "rollouts" / f"{index}-{Path(name).name}" for index, name in enumerate(rollouts.students, start=1)]


def _load(rollouts: RolloutSettings) -> tuple[LanguageModel, list[LanguageModel]]:
    teacher = load(rollouts.teacher)
    students = [load(name) for name in rollouts.students]
    for student in students:
        check_same_vocabulary(teacher, student)
    return teacher, students


def _inputs(blocks: Blocks, indices: list[int]) -> int:
    return sum(len(blocks.blocks[index]) for index in indices)


def _student_result(
    name: str, parts: Iterable[ScoredBlock], rollouts: RolloutSettings, analysis: AnalysisSettings
) -> StudentResult:
    means, totals, squares = [], [], []
    statistics: dict[str, list[InputStatistics]] = {tail: [] for tail in analysis.tails}
    for part in parts:
        values = {name: torch.from_numpy(array) for name, array in part.values.items()}
        q, v = in_gauge(values["q"], values["v"], values["mean"], values["logsumexp"], analysis.gauge)
        for tail in analysis.tails:
            statistics[tail].append(per_input_statistics(q, v, part.mask, analysis.ks, tail))
        means.append(_per_input_means(part))
        squares.append(_return_squares(part))
        totals.append(np.stack([part.values["kl"].sum((1, 2)), part.mask.sum((1, 2))], axis=1))
    items, sums, explained = np.concatenate(means), np.concatenate(totals), np.concatenate(squares)
    bootstrap = Bootstrap(len(items), rollouts.seed, analysis.resamples)
    mean_return, mean_length, ended = bootstrap.means(items)
    (kl,) = bootstrap.ratios(sums[:, :1], sums[:, 1:])
    (length_share,) = bootstrap.ratios(explained[:, :1], explained[:, 1:])
    estimates = [
        estimate
        for tail in analysis.tails
        for estimate in summarise(concatenate(statistics[tail]), bootstrap)
        if estimate.k in analysis.ks
    ]
    return StudentResult(name, kl, mean_return, mean_length, ended, length_share, estimates)


def _per_input_means(part: ScoredBlock) -> Array:
    """Mean return, mean length and share ended of each input, [I, 3]."""
    return np.stack([_returns(part).mean(1), part.mask.sum(2).mean(1), part.ended.mean(1)], axis=1)


def _return_squares(part: ScoredBlock) -> Array:
    """Squares of G_0 about its input's mean: those a line through the lengths explains, and all of them, [I, 2]."""
    returns, lengths = _returns(part), part.mask.sum(2).astype(np.float64)
    returns -= returns.mean(1, keepdims=True)
    lengths -= lengths.mean(1, keepdims=True)
    spread = (lengths**2).sum(1)
    explained = (lengths * returns).sum(1) ** 2 / np.where(spread > 0, spread, 1)
    return np.stack([explained, (returns**2).sum(1)], axis=1)


def _returns(part: ScoredBlock) -> Array:
    """G_0 = v_0 + Σ_t A_t of each rollout, [I, N], raw gauge."""
    advantages = np.where(part.mask, part.values["q"] - part.values["v"], 0.0)
    returns: Array = part.values["v"][:, :, 0] + advantages.sum(2)
    return returns
