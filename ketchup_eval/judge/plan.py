"""What is to be asked: predictions of each system joined by id, as questions with their keys."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ketchup.errors import DataError, UsageError
from ketchup.hashes import content_hash
from ketchup.runs import Run, read_manifest
from ketchup.tasks import task as task_named
from ketchup.tasks.rows import load_examples
from ketchup_eval.judge.criteria import template
from ketchup_eval.judge.human import Preference, read_preferences
from ketchup_eval.judge.protocol import Pair, Question, make_pairs, questions, sample_ids
from ketchup_eval.judge.settings import JudgeSettings
from ketchup_eval.judge.verdicts import VerdictStore
from ketchup_eval.predictions import Prediction, predictions_file, read_predictions

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
    preferences: list[Preference]
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
    predictions = {name: _predictions(name, runs_dir, settings.split) for name in (*settings.a, settings.b)}
    ids, unshared = _shared_ids(predictions)
    sources = {row.id: row.source for row in load_examples(task, settings.split, settings.data)}
    texts = {name: {row.id: row.text for row in rows} for name, rows in predictions.items()}
    drawn = sample_ids(ids, settings.limit, settings.sampling.seed)
    pairs = make_pairs(sources, {name: texts[name] for name in settings.a}, texts[settings.b], drawn)
    calls = [Call(question, question.query.key(settings.sampling)) for question in questions(pairs, templates)]
    again = sorted({call.key: call for call in calls}.values(), key=lambda call: call.key)[: settings.repeat_check]
    repeats = [Call(call.question, call.question.query.key(settings.sampling, repeat=1), repeat=1) for call in again]
    preferences = read_preferences(settings.human, settings) if settings.human else []
    return Plan(settings, templates, pairs, calls, repeats, unshared, preferences)


def task_and_data(b: str, runs_dir: Path, task: str | None, data: Path | None) -> tuple[str, Path | None]:
    """The task and data that the predictions of run `b` were made from, unless others are given.

    Raises `UsageError` where `b` is a file, which does not say.
    """
    if task is not None:
        return task, data
    run = Run.find(b, runs_dir)
    recorded = read_manifest(run.folder)["settings"] if run else {}
    if "task" in recorded:
        rows = recorded.get("data")
        return str(recorded["task"]), data or (Path(rows) if rows else None)
    raise UsageError(f"{b} does not say which task its predictions are for; name it with --task.")


def describe(plan: Plan, store: VerdictStore) -> str:
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


def _predictions(name: str, runs_dir: Path, split: str) -> list[Prediction]:
    return read_predictions(predictions_file(name, runs_dir, split))


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
