"""`ketchup.evaluate` and `ketchup.compare`: the commands of that name as functions."""

from collections.abc import Sequence
from pathlib import Path

from ketchup import checks
from ketchup.choices import BleuTokenizer, Dtype, EngineName, PromptStyle, Split, Which
from ketchup.models.builtin import model_of
from ketchup.where import Where
from ketchup_eval.comparison.compare import CompareResult
from ketchup_eval.comparison.compare import compare as compare_runs
from ketchup_eval.evaluation.evaluate import Evaluation, evaluate_system, write_scores
from ketchup_eval.evaluation.evaluation_settings import EvaluationSettings, system_named
from ketchup_eval.face.places import RUNS, check_alone, check_url, folder_of


def evaluate(
    system: str,
    *,
    task: str | None = None,
    split: Split = "test",
    data: str | Path | None = None,
    limit: int | None = None,
    checkpoint: Which | None = None,
    teacher: str | None = None,
    metrics: Sequence[str] = (),
    bleu_tokenize: BleuTokenizer | None = None,
    max_new_tokens: int | None = None,
    prompt_style: PromptStyle | None = None,
    engine: EngineName = "auto",
    resamples: int = 2000,
    seed: int = 0,
    workers: int = 1,
    device: str = "auto",
    teacher_dtype: Dtype = "auto",
    student_dtype: Dtype = "auto",
    teacher_memory: float | None = None,
    teacher_url: str | None = None,
    name: str | None = None,
    runs_dir: str | Path | None = None,
) -> Evaluation:
    """Scores of a system's greedy outputs, each with a 95% interval over inputs, its n and its signature.

    `system` is a training run by its name under `runs_dir` or by its folder, of which the best `checkpoint` is taken,
    else the last; or a model, named as for `load`. What is left open is what the run was trained with, else the task's
    own, and the task is the demo. With a `teacher`, which may be behind vLLM's server at `teacher_url`, the
    mean return of the outputs is among the scores. The other
    options are those of `ketchup evaluate`, with its defaults.

    The result has `scores`, in the order of the metrics, and of each input the output (`outputs.predictions`) and its
    `statistics`. With `runs_dir` outputs and scores are written into the run `name` there, by default that of the
    system, where `compare` and `judge` find them; a stopped evaluation goes on. Without it nothing stays on disk.

    Example:

        found = ketchup.evaluate("demo-student-3", teacher="demo-teacher", limit=8, runs_dir="runs", device="cpu")
        for score in found.scores:
            print(score.name, score.estimate.value, score.estimate.low, score.estimate.high, score.signature)

    Raises `UsageError` for options that cannot be or do not go together, `ModelError` and `DataError` for models and
    rows that cannot be used, and `RunError` where the run holds outputs of other settings.
    """
    check_alone("evaluate", "evaluate")
    checks.several(metrics=metrics)
    checks.name("A system", system)
    check_url(teacher, teacher_url)
    settings = EvaluationSettings(
        task=task,
        data=None if data is None else Path(data),
        split=split,
        limit=limit,
        teacher=teacher
        and (teacher if teacher_url else model_of(teacher, Path(RUNS if runs_dir is None else runs_dir))),
        max_new_tokens=max_new_tokens,
        prompt_style=prompt_style,
        engine=engine,
        metrics=tuple(metrics),
        bleu_tokenize=bleu_tokenize,
        resamples=resamples,
        seed=seed,
        workers=workers,
    )
    where = Where(device, teacher_dtype, student_dtype, teacher_memory, teacher_url)
    with folder_of(runs_dir) as place:
        found = evaluate_system(system_named(system, place, checkpoint, name), settings, where)
        assert found is not None  # as this is the only process
        if runs_dir is not None:
            write_scores(found)
    return found


def compare(
    a: str | Sequence[str],
    b: str | Sequence[str],
    *,
    task: str | None = None,
    split: Split = "test",
    data: str | Path | None = None,
    references: str | Path | None = None,
    limit: int | None = None,
    metrics: Sequence[str] = (),
    bleu_tokenize: BleuTokenizer | None = None,
    allow_different: bool = False,
    resamples: int = 2000,
    trials: int = 10_000,
    seed: int = 0,
    workers: int = 1,
    runs_dir: str | Path = "runs",
) -> CompareResult:
    """Differences b - a between the outputs of two methods on the same inputs: intervals, tests, what n could show.

    `a` and `b` are names of evaluated runs under `runs_dir`, or files of outputs (JSON lines with `id` and
    `prediction`); several are runs of one method with different seeds. What is left open is what `a` was evaluated
    with. The other options are those of `ketchup compare`, with its defaults; unlike things are refused unless
    `allow_different`.

    The result has `comparisons`, one a score: both values, the `difference` as an `Estimate` in the score's unit, the
    p-value of the named `test`, the same adjusted for all comparisons (`holm`), and `detectable`, the smallest true
    difference that is found with power 80% at level 5%.

    Example:

        for student in ("demo-student-1", "demo-student-3"):
            ketchup.evaluate(student, limit=8, runs_dir="runs", device="cpu")
        for row in ketchup.compare("demo-student-1", "demo-student-3", runs_dir="runs").comparisons:
            print(row.score, row.difference.value, row.p, row.holm)

    Raises `DataError` for runs without outputs, for outputs of other inputs, and for unlike evaluations; `UsageError`
    for a run that is named twice.
    """
    checks.several(metrics=metrics)
    settings = EvaluationSettings(
        task=task,
        data=None if data is None else Path(data),
        references=None if references is None else Path(references),
        split=split,
        limit=limit,
        metrics=tuple(metrics),
        bleu_tokenize=bleu_tokenize,
        resamples=resamples,
        seed=seed,
        workers=workers,
    )
    first, second = ([side] if isinstance(side, str) else list(side) for side in (a, b))
    return compare_runs(first, [second], Path(runs_dir), settings, trials, allow_different)
