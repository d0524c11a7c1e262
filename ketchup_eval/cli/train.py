"""`ketchup train METHOD`: trains a student, or a teacher with `sft`."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ketchup.choices import (
    EngineName,
    Normalization,
    Precision,
    PromptStyle,
    SavedDtype,
    Schedule,
)
from ketchup_eval.cli import servers
from ketchup_eval.cli.checking import words_are_checked
from ketchup_eval.cli.devices import Device, StudentDtype, TeacherDtype, TeacherMemory
from ketchup_eval.cli.method_options import given
from ketchup_eval.cli.output import say
from ketchup_eval.cli.processes import share_among
from ketchup_eval.cli.tasks import TaskName
from ketchup_eval.cli.threads import use_threads

if TYPE_CHECKING:
    from ketchup.tasks.metric import TaskMetric
    from ketchup.training.train_settings import TrainSettings

NO_SETTINGS = {
    "name",
    "processes",
    "threads",
    "runs_dir",
    "track",
    "dry_run",
    "serve",
    "serve_python",
    "serve_options",
}
"""What does not decide the result."""
OF_LOOP, OF_RUN = "Optimisation", "Run"


def train(
    ctx: typer.Context,
    method: Annotated[str, typer.Argument()],
    student: Annotated[str | None, typer.Option(help="model to train: built-in name, folder or hub id")] = None,
    task: TaskName = "demo",
    teacher: Annotated[str | None, typer.Option(help="model to learn from; default for the demo: its own")] = None,
    preset: Annotated[
        str | None, typer.Option(help="the paper's settings: TASK-t5 or TASK-qwen; other options win over it")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="optimiser steps; default: as --epochs says", rich_help_panel=OF_LOOP)
    ] = None,
    epochs: Annotated[float, typer.Option(help="passes over the rows", rich_help_panel=OF_LOOP)] = 1.0,
    batch_size: Annotated[int, typer.Option(help="inputs of a micro-batch", rich_help_panel=OF_LOOP)] = 8,
    accumulation: Annotated[int, typer.Option(help="micro-batches of an optimiser step", rich_help_panel=OF_LOOP)] = 1,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--lr", rich_help_panel=OF_LOOP)] = 3e-5,
    schedule: Annotated[
        Schedule,
        typer.Option(help="of the learning rate, after warm-up", rich_help_panel=OF_LOOP),
    ] = "constant",
    warmup_steps: Annotated[int, typer.Option(help="steps of rising learning rate", rich_help_panel=OF_LOOP)] = 0,
    weight_decay: Annotated[float, typer.Option(rich_help_panel=OF_LOOP)] = 0.0,
    max_grad_norm: Annotated[
        float, typer.Option(help="gradients are clipped to this norm; 0: not at all", rich_help_panel=OF_LOOP)
    ] = 1.0,
    normalization: Annotated[
        Normalization,
        typer.Option(help="mean over the step's actions, or their sum per trajectory", rich_help_panel=OF_LOOP),
    ] = "tokens",
    lora: Annotated[
        int, typer.Option(help="train adapters of this rank only; 0: all weights", rich_help_panel=OF_LOOP)
    ] = 0,
    shard: Annotated[
        bool, typer.Option("--shard", help="spread models over all processes (FSDP)", rich_help_panel=OF_LOOP)
    ] = False,
    precision: Annotated[
        Precision,
        typer.Option(help="of matrix products; auto: bfloat16 on GPUs that have it", rich_help_panel=OF_LOOP),
    ] = "auto",
    device: Device = "auto",
    teacher_dtype: TeacherDtype = "auto",
    student_dtype: StudentDtype = "auto",
    teacher_memory: TeacherMemory = None,
    teacher_url: servers.TeacherUrl = None,
    serve: servers.Serve = None,
    serve_python: servers.ServePython = None,
    serve_options: servers.ServeOptions = "",
    name: Annotated[
        str | None, typer.Option(help="name of the run; default: METHOD-TASK", rich_help_panel=OF_RUN)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="folder with train.jsonl and validation.jsonl", rich_help_panel=OF_RUN)
    ] = None,
    limit: Annotated[int | None, typer.Option(help="use the first N training rows", rich_help_panel=OF_RUN)] = None,
    validation_limit: Annotated[
        int, typer.Option(help="use the first N validation rows", rich_help_panel=OF_RUN)
    ] = 200,
    eval_every: Annotated[int, typer.Option(help="steps between validations", rich_help_panel=OF_RUN)] = 100,
    save_every: Annotated[int, typer.Option(help="steps between checkpoints", rich_help_panel=OF_RUN)] = 100,
    select: Annotated[
        str | None,
        typer.Option(
            help="what the best checkpoint validates best by: return (policy gradients' default), loss (others'), or a "
            "metric of greedy outputs: accuracy, bleu, chrf, ter, rouge1, rouge2, rouge-l ...",
            rich_help_panel=OF_RUN,
        ),
    ] = None,
    milestones: Annotated[
        list[int] | None, typer.Option(help="steps whose checkpoints are kept", rich_help_panel=OF_RUN)
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="longest answer in tokens; default: the task's", rich_help_panel=OF_RUN)
    ] = None,
    prompt_style: Annotated[
        PromptStyle | None,
        typer.Option(help="default: what fits the model", rich_help_panel=OF_RUN),
    ] = None,
    teacher_temperature: Annotated[
        float, typer.Option(help="temperature of the teacher's outputs; 0: greedy", rich_help_panel=OF_RUN)
    ] = 0.0,
    engine: Annotated[
        EngineName,
        typer.Option(
            help="what samples; auto: ctranslate2 where it can, else transformers; vllm:tpN: vLLM on N GPUs",
            rich_help_panel=OF_RUN,
        ),
    ] = "auto",
    correct_sampler: Annotated[
        bool,
        typer.Option(
            "--correct-sampler",
            help="weigh rollouts by truncated importance ratios, where the engine computes in another precision",
            rich_help_panel=OF_RUN,
        ),
    ] = False,
    save_dtype: Annotated[
        SavedDtype,
        typer.Option(help="type of the weights in checkpoints", rich_help_panel=OF_RUN),
    ] = "float32",
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="TRACKER...", help="tensorboard, wandb or trackio", rich_help_panel=OF_RUN),
    ] = None,
    seed: Annotated[int, typer.Option(rich_help_panel=OF_RUN)] = 0,
    processes: Annotated[
        int,
        typer.Option(help="processes of this machine that train together, each on a batch", rich_help_panel=OF_LOOP),
    ] = 1,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of a process; default: all", rich_help_panel=OF_RUN)
    ] = None,
    runs_dir: Annotated[Path, typer.Option(help="where runs live", rich_help_panel=OF_RUN)] = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be done, and stop", rich_help_panel=OF_RUN)
    ] = False,
) -> None:
    """Train a student by METHOD; run the same command again to continue after a stop."""
    from ketchup import checks

    checks.whole("--processes", processes, most=checks.MOST_WORKERS)
    checks.whole("--threads", threads, most=checks.MOST_WORKERS)
    from ketchup.runs import Run
    from ketchup.tasks import short_name
    from ketchup.training.refusals import check_training

    settings, metric = _selecting(_settings(ctx))
    run = Run.new(f"{method}-{short_name(settings.task)}" if name is None else name, runs_dir)
    check_training(settings, metric)  # without torch
    checks.trackers(track or ())
    words_are_checked()
    use_threads(threads)
    from ketchup.training.run import describe_training, run_training

    if dry_run:
        say(describe_training(settings, run, metric, processes))
        return
    with servers.teacher_server(run.folder, teacher_url, serve, serve_python, serve_options) as server:
        settings = replace(settings, teacher_url=server.url, teacher_key=server.key)
        if processes > 1:
            share_among(processes, settings.where, [], settings.engine)
        folder = run_training(settings, run, runs_dir / "teacher-outputs", tuple(track or ()), metric)
    if os.environ.get("RANK", "0") == "0":
        say(str(folder))


def _selecting(settings: "TrainSettings") -> "tuple[TrainSettings, TaskMetric | None]":
    """The settings with the metric that they select by, under its own name."""
    from ketchup.tasks import task_named
    from ketchup.training.metrics import OWN_SELECTIONS
    from ketchup_eval.evaluation.selecting import metric_to_select_by

    if settings.select is None or settings.select in OWN_SELECTIONS:
        return settings, None
    metric = metric_to_select_by(task_named(settings.task), settings.select)
    return replace(settings, select=metric.name), metric


def _settings(ctx: typer.Context) -> "TrainSettings":
    """What was given, over the preset, over the defaults."""
    from ketchup.errors import UsageError
    from ketchup.methods import METHODS
    from ketchup.models.builtin import model_of
    from ketchup.models.served.starting import check_words
    from ketchup.training.presets import preset
    from ketchup.training.train_settings import TrainSettings

    values: dict[str, Any] = {name: value for name, value in ctx.params.items() if name not in NO_SETTINGS}
    of_methods = given(ctx)
    values |= of_methods
    values["milestones"] = tuple(values["milestones"] or ())
    if values["preset"]:
        paper = preset(values["preset"], values["method"])
        named = {name for name in paper if str(ctx.get_parameter_source(name)).endswith("COMMANDLINE")}
        values |= {name: value for name, value in paper.items() if name not in named}
        values["overridden"] = tuple(sorted(name for name in named if values[name] != paper[name]))
    if all(str(ctx.get_parameter_source(name)).endswith("COMMANDLINE") for name in ("steps", "epochs")):
        raise UsageError("--steps and --epochs both say how long to train; leave one of them out.")
    serve = ctx.params["serve"]
    check_words(serve, ctx.params["serve_python"], ctx.params["serve_options"])
    values["teacher"] = servers.teacher_named(values["teacher"], values["teacher_url"], serve)
    values["teacher_url"] = values["teacher_url"] or (servers.STARTING if serve else None)
    if values["teacher_url"] and not values["teacher"]:
        raise UsageError("--teacher-url is where a teacher is; name it with --teacher.")
    options = {name: values.pop(name) for name in of_methods}
    if values["student"] is None:
        raise UsageError("Name the model to train with --student.")
    if values["task"] == "demo" and values["teacher"] is None and values["method"] in METHODS.keys() - {"sft"}:
        values["teacher"] = "demo-teacher"
    for name in ("student",) if values["teacher_url"] else ("teacher", "student"):
        values[name] = values[name] and model_of(values[name], ctx.params["runs_dir"])
    return TrainSettings(options={name: value for name, value in options.items() if value is not None}, **values)
