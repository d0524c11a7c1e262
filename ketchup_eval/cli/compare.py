"""`ketchup compare --a RUN --b RUN`: paired differences of evaluated runs, with tests."""

from pathlib import Path
from typing import Annotated

import typer

from ketchup.choices import BleuTokenizer, Split
from ketchup_eval.cli.checking import words_are_checked
from ketchup_eval.cli.output import say, say_json, show

WIDTH = 170
"""Columns of a table that is not printed on a terminal."""


def compare(
    a: Annotated[list[str], typer.Option("--a", metavar="RUN...", help="run or file; several are seeds of a method")],
    b: Annotated[list[str], typer.Option("--b", metavar="RUN...", help="runs to compare with a")],
    seeds: Annotated[
        bool | None,
        typer.Option("--seeds/--no-seeds", help="b's runs are seeds of one method; default: if a has several"),
    ] = None,
    split: Annotated[Split, typer.Option()] = "test",
    task: Annotated[str | None, typer.Option(help="default: the task that a was evaluated on")] = None,
    data: Annotated[Path | None, typer.Option(help="folder with SPLIT.jsonl; default: that of a")] = None,
    references: Annotated[
        Path | None, typer.Option(help="in place of --data: references as plain lines, or JSON lines with reference")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="the first N inputs; default: those of a")] = None,
    metrics: Annotated[
        list[str] | None, typer.Option(metavar="METRIC...", help="default: those the task is published with")
    ] = None,
    bleu_tokenize: Annotated[
        BleuTokenizer | None, typer.Option(help="sacrebleu's tokenizer of BLEU; default: that of a, else 13a")
    ] = None,
    allow_different: Annotated[
        bool, typer.Option("--allow-different", help="compare different signatures or splits, and say so")
    ] = False,
    resamples: Annotated[int, typer.Option(help="bootstrap resamples")] = 2000,
    trials: Annotated[int, typer.Option(help="trials of randomisation and permutation tests")] = 10_000,
    seed: Annotated[int, typer.Option()] = 0,
    workers: Annotated[int, typer.Option(help="processes that score")] = 1,
    runs_dir: Annotated[Path, typer.Option(help="where runs live")] = Path("runs"),
    out: Annotated[Path | None, typer.Option(help="write the comparison as JSON to this file too")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
) -> None:
    """Compare the outputs of runs on the same inputs; evaluate them first."""
    from ketchup import checks
    from ketchup.errors import UsageError
    from ketchup.files import atomic_write_json
    from ketchup_eval.comparison.compare import compare as compared
    from ketchup_eval.comparison.compare import comparison_json
    from ketchup_eval.evaluation.evaluation_settings import EvaluationSettings

    together = len(a) > 1 if seeds is None else seeds
    if len(a) > 1 and not together:
        raise UsageError("--a names several runs, which are seeds of one method; leave --no-seeds out.")
    settings = EvaluationSettings(
        task=task,
        data=data,
        references=references,
        split=split,
        limit=limit,
        metrics=tuple(metrics or ()),
        bleu_tokenize=bleu_tokenize,
        resamples=resamples,
        seed=seed,
        workers=workers,
    )
    checks.whole("--trials", trials, most=checks.MOST_DRAWS)
    words_are_checked()
    study = compared(a, [b] if together else [[name] for name in b], runs_dir, settings, trials, allow_different)
    if out:
        atomic_write_json(out, comparison_json(study))
    if as_json:
        say_json(comparison_json(study))
        return
    from ketchup_eval.report.comparison_table import comparison_notes, comparison_table

    show(comparison_table(study), width=WIDTH)
    say(comparison_notes(study))
