"""`ketchup evaluate RUN ...`: task metrics of a run, a model or a file of outputs."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ketchup.choices import BleuTokenizer, EngineName, PromptStyle, Split, Which
from ketchup_eval.cli import servers
from ketchup_eval.cli.checking import words_are_checked
from ketchup_eval.cli.devices import Device, StudentDtype, TeacherDtype, TeacherMemory
from ketchup_eval.cli.output import say, say_json, show

if TYPE_CHECKING:
    from ketchup.where import Where
    from ketchup_eval.comparison.correlate import Correlation
    from ketchup_eval.evaluation.evaluate import Evaluation
    from ketchup_eval.evaluation.evaluation_settings import EvaluationSettings, System

WIDTH = 150
"""Columns of a table that is not printed on a terminal."""


def evaluate(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="training runs by name or folder, or models")
    ] = None,
    split: Annotated[Split, typer.Option()] = "test",
    task: Annotated[str | None, typer.Option(help="default: the run's own, else demo")] = None,
    data: Annotated[Path | None, typer.Option(help="folder with SPLIT.jsonl; default: the run's own")] = None,
    limit: Annotated[int | None, typer.Option(help="use the first N inputs")] = None,
    checkpoint: Annotated[Which | None, typer.Option(help="of a training run; default: best if there is one")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="whose return is measured; default: the run's own, `none` for none")
    ] = None,
    metrics: Annotated[
        list[str] | None, typer.Option(metavar="METRIC...", help="default: those the task is published with")
    ] = None,
    bleu_tokenize: Annotated[
        BleuTokenizer | None, typer.Option(help="sacrebleu's tokenizer of BLEU; default: 13a")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="score these outputs: JSON lines with id and prediction, or plain lines")
    ] = None,
    references: Annotated[
        Path | None, typer.Option(help="in place of --data: references as plain lines, or JSON lines with reference")
    ] = None,
    correlate: Annotated[
        bool, typer.Option("--correlate", help="does more return buy more quality? Spearman and a scatter figure")
    ] = False,
    max_new_tokens: Annotated[int | None, typer.Option(help="longest output; default: the run's or task's")] = None,
    prompt_style: Annotated[PromptStyle | None, typer.Option(help="default: what fits the model")] = None,
    engine: Annotated[EngineName, typer.Option(help="what decodes; as for ketchup variance")] = "auto",
    resamples: Annotated[int, typer.Option(help="bootstrap resamples over inputs")] = 2000,
    seed: Annotated[int, typer.Option(help="of the bootstrap; decoding is greedy")] = 0,
    workers: Annotated[int, typer.Option(help="processes that score")] = 1,
    device: Device = "auto",
    teacher_dtype: TeacherDtype = "auto",
    student_dtype: StudentDtype = "auto",
    teacher_memory: TeacherMemory = None,
    teacher_url: servers.TeacherUrl = None,
    serve: servers.Serve = None,
    serve_python: servers.ServePython = None,
    serve_options: servers.ServeOptions = "",
    processes: Annotated[
        int | None,
        typer.Option(help="processes that share the work on this machine; default: one, or one a GPU"),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of a process; default: all")] = None,
    name: Annotated[str | None, typer.Option(help="folder of the results under --runs-dir; default: RUN's")] = None,
    runs_dir: Annotated[Path, typer.Option(help="where runs live")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print scores as JSON instead of tables")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="print a LaTeX table instead")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, and stop")] = False,
) -> None:
    """Score greedy outputs with error bars; run the same command again to continue after a stop."""
    from ketchup import checks
    from ketchup.errors import UsageError
    from ketchup.models.builtin import model_of
    from ketchup.models.served.starting import check_words
    from ketchup.runs import Run
    from ketchup.tasks import task_named
    from ketchup_eval.evaluation.evaluation_settings import EvaluationSettings, system_named
    from ketchup_eval.metrics import metrics_for

    if (predictions is None) == (not runs):
        raise UsageError("Name one or more runs to evaluate, or a file with --predictions.")
    if references and not predictions:
        raise UsageError("--references goes with --predictions FILE.")
    models_only = {
        "--teacher": teacher,
        "--teacher-url": teacher_url,
        "--serve": serve,
        "--checkpoint": checkpoint,
        "--max-new-tokens": max_new_tokens,
        "--prompt-style": prompt_style,
    }
    for option, value in models_only.items():
        if predictions and value is not None:
            raise UsageError(f"--predictions FILE are scored as they are; leave out {option}, which is for models.")
    teacher = servers.teacher_named(teacher, teacher_url, serve)
    check_words(serve, serve_python, serve_options)
    checks.whole("--threads", threads, most=checks.MOST_WORKERS)
    checks.whole("--processes", processes, most=checks.MOST_WORKERS)
    if name is not None and len(runs or ()) > 1:
        raise UsageError("--name goes with one run.")
    settings = EvaluationSettings(
        task=task,
        data=data,
        references=references,
        split=split,
        limit=limit,
        teacher=teacher if teacher_url or serve else teacher and model_of(teacher, runs_dir),
        max_new_tokens=max_new_tokens,
        prompt_style=prompt_style,
        engine=engine,
        metrics=tuple(metrics or ()),
        bleu_tokenize=bleu_tokenize,
        resamples=resamples,
        seed=seed,
        workers=workers,
    )
    if task is not None:
        metrics_for(task_named(task), settings.metrics, bleu_tokenize)
    words_are_checked()
    if predictions:
        from ketchup_eval.evaluation.evaluate import evaluate_file

        run = Run.new(predictions.stem if name is None else name, runs_dir)
        _show([_written(evaluate_file(predictions, run, settings))], correlate, as_json, as_latex)
        return
    systems = [system_named(run, runs_dir, checkpoint, name) for run in runs or ()]
    if (teacher_url or serve) and any(settings.completed(system.settings).teacher is None for system in systems):
        raise UsageError("--teacher-url is where a teacher is; name it with --teacher.")
    if dry_run:
        from ketchup_eval.evaluation.evaluate import describe_evaluation

        for system in systems:
            say(describe_evaluation(system, settings))
        return
    from ketchup.where import Where
    from ketchup_eval.cli.processes import share_among
    from ketchup_eval.cli.threads import use_threads

    where = Where(
        device, teacher_dtype, student_dtype, teacher_memory, teacher_url or (servers.STARTING if serve else None)
    )
    with servers.teacher_server(systems[0].run.folder, teacher_url, serve, serve_python, serve_options) as server:
        where = replace(where, teacher_url=server.url, teacher_key=server.key)
        loaded = [] if server.url else [settings.completed(system.settings).teacher for system in systems]
        share_among(processes, where, loaded, engine)
        use_threads(threads)
        _evaluate_models(systems, settings, where, (correlate, as_json, as_latex))


def _evaluate_models(
    systems: "list[System]", settings: "EvaluationSettings", where: "Where", show: tuple[bool, bool, bool]
) -> None:
    from ketchup_eval.evaluation.evaluate import evaluate_system

    found = []
    for system in systems:
        evaluation = evaluate_system(system, settings, where)
        if evaluation:
            found.append(_written(evaluation))
    if found:
        _show(found, *show)


def _written(evaluation: "Evaluation") -> "Evaluation":
    """Each system's scores are on disk before the next is evaluated."""
    from ketchup_eval.evaluation.evaluate import write_scores

    write_scores(evaluation)
    return evaluation


def _show(evaluations: "list[Evaluation]", correlate: bool, as_json: bool, as_latex: bool) -> None:
    from ketchup_eval.comparison.correlate import changes, correlations
    from ketchup_eval.evaluation.scores import scores_json
    from ketchup_eval.report.correlation_table import change_table, correlation_table
    from ketchup_eval.report.scatter_figure import write_scatter_figure
    from ketchup_eval.report.scores_table import latex, scores_notes, scores_table

    found = {}
    if correlate:  # the figures first, so that they are there whatever is printed
        for one in evaluations:
            found[one.run] = correlations(one)
            write_scatter_figure(found[one.run], one.run.folder / f"correlation-{one.about['split']}.png")
    if as_json:
        content = {
            str(one.run): scores_json(one.scores, one.about) | {"return_correlation": _rhos(found.get(one.run, []))}
            for one in evaluations
        }
        say_json(content)
        return
    if as_latex:
        say(latex(evaluations))
        return
    for evaluation in evaluations:
        show(scores_table(evaluation), width=WIDTH)
        say(scores_notes(evaluation))
        say(f"Written: {evaluation.run.scores} and {evaluation.run.predictions(evaluation.about['split'])}")
    if correlate:
        show(correlation_table([row for one in evaluations for row in found[one.run]]), width=WIDTH)
        if len(evaluations) > 1:
            show(change_table(changes(evaluations)), width=WIDTH)


def _rhos(rows: "list[Correlation]") -> dict[str, object]:
    return {row.metric: asdict(row.rho) for row in rows}
