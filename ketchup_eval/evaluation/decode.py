"""Greedy outputs of a model on a split, written as they come and worth something to a teacher."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

from ketchup.choices import PromptStyle
from ketchup.devices import placement
from ketchup.errors import RunError
from ketchup.hashes import content_hash
from ketchup.manifests import note_circumstances, run_of_all
from ketchup.models.language_model import LanguageModel
from ketchup.models.placement import load_student
from ketchup.models.prompts import default_style, output_text, prompt_ids
from ketchup.models.scoring import full_returns
from ketchup.models.teacher import Teacher, check_same_tokens, score_teacher, teacher_of
from ketchup.phases import Phases
from ketchup.processes import Processes
from ketchup.progress import progress
from ketchup.rollouts.fill import BLOCK, Block, Writer, blocks_of, fill
from ketchup.rollouts.lines import LineStore
from ketchup.rollouts.stopping import before_stop
from ketchup.rollouts.types import Decoding, Rollouts
from ketchup.runs import Run
from ketchup.tasks.base import Input, Task
from ketchup.where import Where
from ketchup_eval.evaluation.evaluation_settings import EvaluationSettings, System
from ketchup_eval.predictions import Prediction


def decode(
    system: System,
    settings: EvaluationSettings,
    task: Task,
    inputs: Sequence[Input],
    processes: Processes,
    where: Where,
) -> dict[str, Any]:
    """Fills the run's file of predictions for all inputs; what is there is not decoded again.

    Returns what decided them: model, teacher, fingerprints, decoding. An input is known by its id and the hash of its
    source. Blocks are of similar length. Several processes share them.
    """
    limit = settings.max_new_tokens
    task = task if limit is None else replace(task, max_new_tokens=limit)
    placed = placement(processes.device, where)
    student = load_student(system.model, placed)
    path = system.run.predictions(settings.split)
    state = path.with_suffix("")
    teacher = teacher_of(settings.teacher, placed, state) if settings.teacher else None
    if teacher:
        check_same_tokens(teacher, student)
    style = cast(PromptStyle | None, settings.prompt_style) or default_style(student)
    decided = {
        "model": system.model,
        "model_fingerprint": student.fingerprint,
        "teacher": settings.teacher,
        "teacher_fingerprint": teacher.fingerprint if teacher else None,
        "task": task.called,
        **task.recorded,
        "max_new_tokens": task.max_new_tokens,
        "prompt_style": style,
        "decoding": "greedy",
        "engine": settings.engine,
        "student_dtype": placed.recorded["student_dtype"],
        "teacher_dtype": placed.recorded["teacher_dtype"] if teacher else None,
    }
    readers = [teacher] if teacher else []
    prompts = {one.id: prompt_ids(student, task, one, style, readers) for one in inputs}
    by_length = sorted(inputs, key=lambda one: len(prompts[one.id]))
    store = LineStore(path, state, blocks_of(by_length, BLOCK), partial(_rows, student, task))
    if path.exists() and not Run(state).has_manifest():
        raise RunError(f"{path} was not written by this evaluation; move it away or use another --name.")
    alike = {
        "limit": settings.limit,
        "metrics": settings.metrics,
        "rows_fingerprint": content_hash([one.input_hash for one in inputs]),
    }
    results = () if path.exists() else ("part-*.jsonl",)  # where all are gathered, no part is left
    with run_of_all(state, decided, processes, results=results, alike=alike):
        _check_same_texts(store, inputs)
        missing = store.missing()
        left = sum(len(store.blocks[index]) for index in missing)
        if missing:
            greedy = Decoding(task.max_new_tokens, temperature=0)
            writer = Writer(
                student,
                settings.engine,
                1,
                greedy,
                0,
                task.calculator,
                lambda one: prompts[one.id],
                lambda engine: note_circumstances(state, engines={student.name: engine}),
                task.stop,
            )
            with progress("decode", total=len(inputs), unit="inputs", done=len(inputs) - left) as bar:
                fill(writer, partial(_returns, teacher), store, processes, bar, Phases())
        processes.first(lambda: store.gather(inputs))
    return decided


def _check_same_texts(store: LineStore, inputs: Sequence[Input]) -> None:
    """A `RunError` for an output whose input now has other text."""
    hashes = {one.id: one.input_hash for one in inputs}
    for written_for, row in store.known().items():
        if hashes.get(row["id"], written_for) != written_for:
            raise RunError(f'{store.file}: the input "{row["id"]}" has other text by now; use another --name.')


def _rows(
    student: LanguageModel, task: Task, block: Block, rollouts: Rollouts, returns: Sequence[float | None]
) -> Iterator[dict[str, Any]]:
    for index, one in enumerate(block):
        tokens = rollouts.tokens[index][rollouts.token_mask[index]].tolist()
        yield Prediction(
            id=one.id,
            text=before_stop(output_text(student, tokens), task.stop),
            tokens=len(tokens),
            ended=bool(rollouts.ended[index]),
            mean_return=returns[index],
        ).as_row()


def _returns(teacher: Teacher | None, prompts: Sequence[list[int]], rollouts: Rollouts) -> Sequence[float | None]:
    """The return of each output, `None` for one without actions, and where there is no teacher."""
    if teacher is None:
        return [None] * len(prompts)
    values = score_teacher(teacher, prompts, rollouts.tokens, rollouts.action_mask)
    returns = full_returns(values, rollouts.action_mask).tolist()
    return [None if math.isnan(value) else value for value in returns]
