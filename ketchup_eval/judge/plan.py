"""What is to be asked: predictions of each system joined by id, as questions with their keys."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ketchup.choices import Split
from ketchup.errors import DataError, UsageError
from ketchup.hashes import content_hash
from ketchup.manifests import read_manifest
from ketchup.runs import Run
from ketchup.tasks import task_named
from ketchup.tasks.base import Input
from ketchup_eval.inputs import RowsFrom, find_inputs
from ketchup_eval.judge.criteria import criteria, template
from ketchup_eval.judge.human import HumanChoice, read_preferences
from ketchup_eval.judge.judge_settings import JudgeSettings
from ketchup_eval.judge.protocol import Pair, Question, make_pairs, questions, sample_ids
from ketchup_eval.judge.verdicts import VerdictStore
from ketchup_eval.predictions import Prediction, predictions_file, read_outputs
from ketchup_eval.scores_file import recorded

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """A question with its key; `repeat` is 1 where it is asked a second time on purpose."""

    question: Question
    key: str
    repeat: int = 0


@dataclass(frozen=True)
class Plan:
    """Everything to ask, in order. `unshared` counts the ids that some system lacks, which are left out."""

    settings: JudgeSettings
    templates: dict[str, str]
    pairs: list[Pair]
    calls: list[Call]
    repeats: list[Call]
    unshared: int
    preferences: list[HumanChoice]
    """People's, read before anything is asked, so that a mistake in their file costs nothing."""

    def to_ask(self, store: VerdictStore, *, retry_unparsed: bool = False) -> list[Call]:
        """The calls without a verdict, each key once; with `retry_unparsed` those whose reply had no choice too."""
        waiting: dict[str, Call] = {}
        for call in (*self.calls, *self.repeats):
            verdict = store.verdicts.get(call.key)
            if verdict is None or (retry_unparsed and verdict.preferred is None):
                waiting.setdefault(call.key, call)
        return list(waiting.values())

    def prompt_hash(self, criterion: str) -> str:
        """What tells templates apart in a signature."""
        return content_hash(self.templates[criterion])[:8]


def make_plan(settings: JudgeSettings, runs_dir: Path) -> Plan:
    """Reads the predictions and the task's rows; raises `DataError` or `UsageError` for what does not fit."""
    task = task_named(settings.task)
    templates = {name: template(task.kind, name, settings.prompts) for name in settings.criteria}
    files = {name: predictions_file(name, runs_dir, settings.split) for name in (*settings.a, settings.b)}
    items = find_inputs(task, settings.split, settings.rows)
    predictions = {name: read_outputs(file, [item.id for item in items]) for name, file in files.items()}
    ids, unshared = _shared_ids(predictions)
    sources = _sources(items, settings.rows)
    _check_known(files[settings.b], predictions[settings.b], set(ids), sources)
    texts = {name: {row.id: row.text for row in rows} for name, rows in predictions.items()}
    drawn = sample_ids(ids, settings.limit, settings.sampling.seed)
    pairs = make_pairs(sources, {name: texts[name] for name in settings.a}, texts[settings.b], drawn)
    calls = [Call(question, question.query.key(settings.sampling)) for question in questions(pairs, templates)]
    again = sorted({call.key: call for call in calls}.values(), key=lambda call: call.key)[: settings.repeat_check]
    repeats = [Call(call.question, call.question.query.key(settings.sampling, repeat=1), repeat=1) for call in again]
    known = {row.id for rows in predictions.values() for row in rows}
    preferences = _preferences(settings, known, drawn)
    return Plan(settings, templates, pairs, calls, repeats, unshared, preferences)


def _preferences(settings: JudgeSettings, ids: Collection[str], drawn: Collection[str]) -> list[HumanChoice]:
    """People's preferences, with a notice of those on items that are not judged."""
    if settings.human is None:
        return []
    of_kind = criteria(task_named(settings.task).kind, settings.prompts)
    preferences = read_preferences(settings.human, settings, ids, of_kind)
    judged = set(drawn)
    aside = sum(row.item not in judged for row in preferences)
    if aside:
        _log.warning(
            "%s: %d of %d preferences are on items that are not judged.", settings.human, aside, len(preferences)
        )
    return preferences


def task_and_rows(b: str, runs_dir: Path, split: Split, task: str | None, rows: RowsFrom) -> tuple[str, RowsFrom]:
    """The task and rows that the outputs of run `b` were made for, unless others are given.

    Raises `UsageError` where nothing says it, as for a file.
    """
    known = recorded(predictions_file(b, runs_dir, split), split) or _settings_of(b, runs_dir)
    if task is not None:
        return task, rows.or_those_of(known) if known.get("task") == task else rows
    if "task" not in known:
        raise UsageError(f"{b} does not say which task its predictions are for; name it with --task.")
    return str(known["task"]), rows.or_those_of(known)


def _settings_of(name: str, runs_dir: Path) -> Mapping[str, Any]:
    """Those that a run was trained with; nothing for a file and for a run of outputs alone."""
    run = Run.find(name, runs_dir)
    settings: Mapping[str, Any] = read_manifest(run.folder)["settings"] if run else {}
    return settings


def describe_judgement(plan: Plan, store: VerdictStore) -> str:
    """What would be asked and how much of it, and one full prompt of each variant."""
    waiting = plan.to_ask(store)
    everything = len(plan.calls) + len(plan.repeats)
    characters = sum(len(call.question.query.prompt) for call in waiting)
    settings = plan.settings
    items = len({pair.item for pair in plan.pairs})
    identical = sum(pair.identical for pair in plan.pairs)
    lines = [
        f"{settings.task} ({settings.split}): {items:,} items, {len(settings.a)} x {settings.b}, "
        f"{len(settings.criteria)} criteria, 4 variants, {identical:,} identical pairs skipped, "
        f"{len(plan.repeats):,} calls repeated",
        f"{len(waiting):,} of {everything:,} calls to {settings.sampling.model} are not stored yet: "
        f"about {characters // 4:,} tokens to read (a token for 4 characters) and at most "
        f"{len(waiting) * settings.sampling.max_tokens:,} to write",
    ]
    for call in sorted(plan.calls[:4], key=lambda call: call.question.variant):
        lines += [f"--- variant {call.question.variant + 1} of 4 ---", call.question.query.prompt]
    return "\n".join(lines)


def _check_known(
    file: Path, predictions: Sequence[Prediction], shared: Collection[str], sources: Collection[str]
) -> None:
    """A `DataError` with file and line for an id that all systems have and no row has."""
    unknown = [(n, row.id) for n, row in enumerate(predictions, 1) if row.id in shared and row.id not in sources]
    if unknown:
        line, name = unknown[0]
        raise DataError(
            f'{file}:{line}: the id "{name}" is that of no row ({len(unknown):,} of {len(shared):,} are not); name the '
            "--task, --split, --data or --sources that the outputs were made from."
        )


def _sources(items: Sequence[Input], rows: RowsFrom) -> dict[str, str]:
    """The source of each item; a `DataError` for items without, as those of a file of references may be."""
    for item in items:
        if not item.source.strip():
            raise DataError(
                f'{rows.references or rows.sources}: the item "{item.id}" has no source, which the judge is shown; '
                "name a file of sources with --sources, or the task's rows with --data."
            )
    return {item.id: item.source for item in items}


def _shared_ids(predictions: dict[str, list[Prediction]]) -> tuple[Sequence[str], int]:
    sets = {name: {row.id for row in rows} for name, rows in predictions.items()}
    shared = set.intersection(*sets.values())
    unshared = len(set.union(*sets.values())) - len(shared)
    if not shared:
        raise DataError(f"{', '.join(predictions)} have no id in common; name predictions of the same rows.")
    if unshared:
        counts = ", ".join(f"{name} has {len(ids)}" for name, ids in sets.items())
        _log.warning("%d ids are left out, as not every system has them (%s).", unshared, counts)
    return sorted(shared), unshared
