"""`ketchup train METHOD`: trains a student, or a teacher with `sft`."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def train(
    method: Annotated[str, typer.Argument(help="sft (references) or seqkd (the teacher's own outputs)")],
    student: Annotated[str, typer.Option(help="model to train: built-in name, folder or hub id")],
    task: Annotated[str, typer.Option(help="demo, gsm8k, xsum or europarl")] = "demo",
    teacher: Annotated[str | None, typer.Option(help="model that writes the outputs to learn")] = None,
    name: Annotated[str | None, typer.Option(help="name of the run; default: METHOD-TASK")] = None,
    data: Annotated[Path | None, typer.Option(help="folder with train.jsonl and validation.jsonl")] = None,
    limit: Annotated[int | None, typer.Option(help="use the first N training rows")] = None,
    validation_limit: Annotated[int, typer.Option(help="use the first N validation rows")] = 200,
    steps: Annotated[int | None, typer.Option(help="optimiser steps; default: as --epochs says")] = None,
    epochs: Annotated[float, typer.Option(help="passes over the rows")] = 1.0,
    batch_size: Annotated[int, typer.Option(help="inputs of a micro-batch")] = 8,
    accumulation: Annotated[int, typer.Option(help="micro-batches of an optimiser step")] = 1,
    learning_rate: Annotated[float, typer.Option("--learning-rate", "--lr")] = 3e-5,
    schedule: Annotated[
        Literal["constant", "linear", "cosine"], typer.Option(help="of the learning rate, after warm-up")
    ] = "constant",
    warmup_steps: Annotated[int, typer.Option(help="steps of rising learning rate")] = 0,
    weight_decay: Annotated[float, typer.Option()] = 0.0,
    max_grad_norm: Annotated[float, typer.Option(help="gradients are clipped to this norm")] = 1.0,
    eval_every: Annotated[int, typer.Option(help="steps between validations")] = 100,
    save_every: Annotated[int, typer.Option(help="steps between checkpoints")] = 100,
    milestones: Annotated[list[int] | None, typer.Option(help="steps whose checkpoints are kept")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="longest answer in tokens; default: the task's")] = None,
    prompt_style: Annotated[
        Literal["source", "chat", "plain"] | None, typer.Option(help="default: what fits the model")
    ] = None,
    teacher_temperature: Annotated[float, typer.Option(help="temperature of the teacher's outputs; 0: greedy")] = 0.0,
    engine: Annotated[
        Literal["auto", "ctranslate2", "transformers"], typer.Option(help="what samples; auto: the fastest that can")
    ] = "auto",
    save_dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], typer.Option(help="type of the weights in checkpoints")
    ] = "float32",
    seed: Annotated[int, typer.Option()] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all")] = None,
    runs_dir: Annotated[Path, typer.Option(help="where runs live")] = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, and stop")] = False,
) -> None:
    """Train a student by METHOD; run the same command again to continue after a stop."""
    from ketchup_eval.cli.threads import use_threads

    use_threads(threads)
    from ketchup.training.run import describe, run_training
    from ketchup.training.settings import TrainSettings

    settings = TrainSettings(
        method=method,
        task=task,
        student=student,
        teacher=teacher,
        data=data,
        limit=limit,
        validation_limit=validation_limit,
        steps=steps,
        epochs=epochs,
        batch_size=batch_size,
        accumulation=accumulation,
        learning_rate=learning_rate,
        schedule=schedule,
        warmup_steps=warmup_steps,
        weight_decay=weight_decay,
        max_grad_norm=max_grad_norm,
        eval_every=eval_every,
        save_every=save_every,
        milestones=tuple(milestones or ()),
        max_new_tokens=max_new_tokens,
        prompt_style=prompt_style,
        teacher_temperature=teacher_temperature,
        engine=engine,
        save_dtype=save_dtype,
        seed=seed,
    )
    run = runs_dir / (name or f"{method}-{task}")
    if dry_run:
        typer.echo(describe(settings, run))
        return
    folder = run_training(settings, run, runs_dir / "teacher-outputs")
    typer.echo(str(folder))
