"""Greedy outputs of a model on a split, written as they come and worth something to a teacher."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ketchup.errors import RunError
from ketchup.files import append_jsonl, read_jsonl, run_lock
from ketchup.models.language_model import LanguageModel
from ketchup.models.loading import check_same_vocabulary, load
from ketchup.models.prompts import PromptStyle, default_style, output_text, prompt_ids
from ketchup.models.scoring import full_returns, score_teacher
from ketchup.progress import progress
from ketchup.rollouts.engines import engine
from ketchup.rollouts.names import EngineName
from ketchup.rollouts.sampling import sample
from ketchup.rollouts.types import Decoding, Engine, Rollouts
from ketchup.runs import MANIFEST, check_same_settings
from ketchup.tasks.base import Example, Task
from ketchup_eval.metrics.settings import EvaluationSettings, System
from ketchup_eval.predictions import FOLDER, Prediction

BLOCK = 64
"""Inputs decoded, scored and written at once: what a kill can lose at most."""


def decode(system: System, settings: EvaluationSettings, task: Task, examples: Sequence[Example]) -> dict[str, Any]:
    """Fills the run's file of predictions for all examples; what is there is not decoded again.

    Returns what decided them: model, teacher, fingerprints, decoding. An input is known by its id and the hash of its
    source. Blocks are of similar length, and the same in a resumed evaluation.
    """
    limit = settings.max_new_tokens
    task = task if limit is None else replace(task, max_new_tokens=limit)
    student = load(system.model)
    teacher = load(settings.teacher) if settings.teacher else None
    if teacher:
        check_same_vocabulary(teacher, student)
    style = cast(PromptStyle | None, settings.prompt_style) or default_style(student)
    decided = {
        "model": system.model,
        "model_fingerprint": student.fingerprint,
        "teacher": settings.teacher,
        "teacher_fingerprint": teacher.fingerprint if teacher else None,
        "task": task.name,
        "max_new_tokens": task.max_new_tokens,
        "prompt_style": style,
        "decoding": "greedy",
        "engine": settings.engine,
    }
    path = system.run / FOLDER / f"{settings.split}.jsonl"
    state = path.with_suffix("")
    with run_lock(state):
        if path.exists() and not (state / MANIFEST).exists():
            raise RunError(f"{path} was not written by this evaluation; move it away or use another --name.")
        check_same_settings(state, decided)
        known = _known(path, examples)
        _decode_missing(student, teacher, task, examples, style, settings.engine, path, known)
    return decided


def _known(path: Path, examples: Sequence[Example]) -> set[str]:
    """Ids of the rows in the file; a `RunError` for a row whose input now has other text."""
    inputs = {example.id: example.input_hash for example in examples}
    known = {row["id"]: row.get("input") for row in read_jsonl(path)[0]}
    for name, written_for in known.items():
        if name in inputs and written_for != inputs[name]:
            raise RunError(f'{path}: the input "{name}" has other text by now; use another --name.')
    return set(known)


def _decode_missing(
    student: LanguageModel,
    teacher: LanguageModel | None,
    task: Task,
    examples: Sequence[Example],
    style: PromptStyle,
    engine_name: EngineName,
    path: Path,
    known: set[str],
) -> None:
    prompts = {example.id: prompt_ids(student, task, example, style) for example in examples}
    by_length = sorted(examples, key=lambda example: len(prompts[example.id]))
    blocks = [by_length[start : start + BLOCK] for start in range(0, len(by_length), BLOCK)]
    missing = [block for block in blocks if any(example.id not in known for example in block)]
    if not missing:
        return
    runner = engine(engine_name, student)
    done = len(examples) - sum(len(block) for block in missing)
    with progress("decode", total=len(examples), unit="inputs", done=done) as bar:
        for block in missing:
            for row in _block_rows(runner, student, teacher, task, block, [prompts[e.id] for e in block]):
                if row["id"] not in known:
                    append_jsonl(path, row)
            bar.advance(len(block), note=path.parent.parent.name)


def _block_rows(
    runner: Engine,
    student: LanguageModel,
    teacher: LanguageModel | None,
    task: Task,
    block: Sequence[Example],
    prompts: Sequence[list[int]],
) -> Iterator[dict[str, Any]]:
    greedy = Decoding(task.max_new_tokens, temperature=0)
    ids = [example.id for example in block]
    rollouts = sample(runner, student, ids, prompts, 1, greedy, seed=0, calculator=task.calculator)
    returns = _returns(teacher, prompts, rollouts) if teacher else [None] * len(block)
    for index, example in enumerate(block):
        tokens = rollouts.tokens[index][rollouts.token_mask[index]].tolist()
        written = Prediction(
            id=example.id,
            text=output_text(student, tokens),
            tokens=len(tokens),
            ended=bool(rollouts.ended[index]),
            mean_return=returns[index],
        )
        yield {**written.as_row(), "input": example.input_hash}


def _returns(teacher: LanguageModel, prompts: Sequence[list[int]], rollouts: Rollouts) -> list[float | None]:
    """The return of each output, `None` for one without actions."""
    values = score_teacher(teacher, prompts, rollouts.tokens, rollouts.action_mask)
    returns = full_returns(values, rollouts.action_mask).tolist()
    return [None if math.isnan(value) else value for value in returns]
