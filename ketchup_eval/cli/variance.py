"""`ketchup variance`: bias and variance of K-step returns for a teacher and its students."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ketchup.choices import EngineName, Gauge, PromptStyle, Split, Tails
from ketchup_eval.cli import servers
from ketchup_eval.cli.checking import words_are_checked
from ketchup_eval.cli.devices import Device, StudentDtype, TeacherDtype, TeacherMemory
from ketchup_eval.cli.output import say, say_json, show
from ketchup_eval.cli.processes import share_among
from ketchup_eval.cli.tasks import TaskName
from ketchup_eval.cli.threads import use_threads

if TYPE_CHECKING:
    from ketchup_eval.variance.result import VarianceResult

WIDTH = 150
"""Columns of a table that is not printed on a terminal."""
GRADIENT_WIDTH = 230


def variance(
    k: Annotated[list[int], typer.Option("--k", "-k", metavar="K...", help="segment lengths")] = [1, 2, 4, 8, 16],  # noqa: B006
    estimator: Annotated[
        list[str] | None,
        typer.Option(metavar="ROW...", help="further ones, as shrink:0.25 or soft: see docs/estimators.md"),
    ] = None,
    task: TaskName = "demo",
    teacher: Annotated[str | None, typer.Option(help="built-in name, folder or hub id; default: demo-teacher")] = None,
    student: Annotated[
        list[str] | None, typer.Option(metavar="MODEL...", help="one or more; default: the demo's three students")
    ] = None,
    samples: Annotated[int, typer.Option(help="rollouts of each input")] = 32,
    limit: Annotated[
        int | None, typer.Option(help="use the first N inputs; default: 64 for the demo, else all")
    ] = None,
    split: Annotated[Split, typer.Option()] = "test",
    data: Annotated[
        Path | None, typer.Option(help="folder with SPLIT.jsonl; default: generated or from the hub")
    ] = None,
    tail: Annotated[Tails, typer.Option(help="segment: Eq. 7; one-step: Algorithm 1")] = "segment",
    gauge: Annotated[
        Gauge | None,
        typer.Option(help="the constant of the teacher's logits in each state; default: raw, behind a server logprob"),
    ] = None,
    gradient: Annotated[
        bool, typer.Option("--gradient", help="measure the policy gradients of all rows and baselines too")
    ] = False,
    baseline: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME...", help="for --gradient; default: none leave-one-out-per-step"),
    ] = None,
    gradient_of: Annotated[
        str, typer.Option(help="head, last-block, all, or a pattern of names of the student's weights")
    ] = "head",
    projection: Annotated[
        int | None,
        typer.Option(
            help="numbers that a longer gradient is shortened to; default: 4096, for those longer than 16,384"
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="rollouts of the batch that --gradient recommends a row for")] = 256,
    max_new_tokens: Annotated[int | None, typer.Option(help="longest rollout in tokens; default: the task's")] = None,
    temperature: Annotated[float, typer.Option(help="of the student's sampling")] = 1.0,
    top_k: Annotated[int, typer.Option(help="sample among the likeliest; 0: whole vocabulary")] = 0,
    prompt_style: Annotated[PromptStyle | None, typer.Option(help="default: what fits the model")] = None,
    engine: Annotated[
        EngineName,
        typer.Option(help="what samples; auto: ctranslate2 where it can, else transformers; vllm:tpN: vLLM on N GPUs"),
    ] = "auto",
    correct_sampler: Annotated[
        bool,
        typer.Option(
            "--correct-sampler",
            help="weigh rollouts by truncated importance ratios, where the engine computes in another precision",
        ),
    ] = False,
    resamples: Annotated[
        int | None,
        typer.Option(
            help="percentile bootstraps of so many resamples in place of Hall's intervals, which draw nothing"
        ),
    ] = None,
    seed: Annotated[int, typer.Option()] = 0,
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
    name: Annotated[str | None, typer.Option(help="name of the run; default: variance-TASK")] = None,
    runs_dir: Annotated[Path, typer.Option(help="where runs live")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print variance.json instead of tables")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, and stop")] = False,
) -> None:
    """Measure bias and variance of return estimators; run the same command again to continue, or with other K."""
    from ketchup import checks
    from ketchup.runs import Run
    from ketchup.tasks import short_name

    run = Run.new(f"variance-{short_name(task)}" if name is None else name, runs_dir)
    teacher = servers.teacher_named(teacher, teacher_url, serve)
    checks.whole("--processes", processes, most=checks.MOST_WORKERS)
    checks.whole("--threads", threads, most=checks.MOST_WORKERS)
    from ketchup.models.served.starting import check_words
    from ketchup.where import Where
    from ketchup_eval.variance.options import analysis_asked, rollouts_asked

    check_words(serve, serve_python, serve_options)
    served = bool(teacher_url or serve)
    rollouts = rollouts_asked(
        teacher=teacher,
        students=student or (),
        task=task,
        runs_dir=runs_dir,
        served=served,
        samples=samples,
        split=split,
        data=data,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        prompt_style=prompt_style,
        engine=engine,
        seed=seed,
    )
    analysis = analysis_asked(
        rollouts,
        k=k,
        tail=tail,
        estimators=estimator or (),
        gauge=gauge,
        limit=limit,
        gradient=gradient,
        baselines=baseline or (),
        gradient_of=gradient_of,
        projection=projection,
        batch=batch,
        resamples=resamples,
        correct_sampler=correct_sampler,
        served=served,
    )
    where = Where(
        device, teacher_dtype, student_dtype, teacher_memory, teacher_url or (servers.STARTING if serve else None)
    )
    words_are_checked()
    use_threads(threads)
    from ketchup_eval.variance.study import describe_variance, run_variance

    if dry_run:
        say(describe_variance(rollouts, analysis, run))
        return
    with servers.teacher_server(run.folder, teacher_url, serve, serve_python, serve_options) as server:
        where = replace(where, teacher_url=server.url, teacher_key=server.key)
        share_among(processes, where, [] if served else [rollouts.teacher], engine)
        run_variance(rollouts, analysis, run, lambda result: _show(result, run.folder, as_json=as_json), where)


def _show(result: "VarianceResult", run: Path, *, as_json: bool) -> None:
    """Files first, so that nothing is lost should the terminal fail."""
    from ketchup_eval.report.variance_files import write_variance
    from ketchup_eval.report.variance_table import variance_notes, variance_tables
    from ketchup_eval.variance.files import variance_json

    write_variance(result, run)
    if as_json:
        say_json(variance_json(result))
        return
    show(*variance_tables(result), width=WIDTH)
    say(variance_notes(result))
    if result.analysis.gradient:
        from ketchup_eval.report.gradient_table import gradient_notes, gradient_tables

        show(*gradient_tables(result), width=GRADIENT_WIDTH)
        say(gradient_notes(result))
        say(f"Written: {run}/gradient.png, .pdf")
    say(f"Written: {run}/variance.json, .csv, .png, .pdf, theory.png, .pdf and rollouts/")
