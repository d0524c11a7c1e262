"""`ketchup judge`: pairs of outputs compared by a language model, four ways each."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ketchup.choices import Split
from ketchup.redaction import redacted_command
from ketchup_eval.cli.checking import words_are_checked
from ketchup_eval.cli.output import say, say_json, show

if TYPE_CHECKING:
    from ketchup_eval.judge.results import JudgeResult
    from ketchup_eval.judge.verdicts import VerdictStore

EXIT_INCOMPLETE = 3
WIDTH = 180
"""Columns of a table that is not printed on a terminal."""
SHOWN = 5
"""Items and reasons that a message names."""
OF_JUDGE, OF_RUN = "Judge", "Run"


def judge(
    a: Annotated[list[str], typer.Option("--a", metavar="SYSTEM...", help="names of runs, or files of predictions")],
    b: Annotated[str, typer.Option("--b", help="the system that each is compared with")],
    task: Annotated[str | None, typer.Option(help="default: that of run --b")] = None,
    split: Annotated[Split, typer.Option()] = "test",
    data: Annotated[Path | None, typer.Option(help="folder with SPLIT.jsonl; default: that of run --b")] = None,
    references: Annotated[
        Path | None, typer.Option(help="in place of --data: JSON lines with source and reference")
    ] = None,
    sources: Annotated[
        Path | None, typer.Option(help="in place of --data: sources as plain lines, or JSON lines with source")
    ] = None,
    limit: Annotated[int, typer.Option(help="items, drawn by a hash of the seed and their id")] = 500,
    criteria: Annotated[
        list[str] | None, typer.Option(metavar="NAME...", help="default: all that the task's kind has")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="own templates: DIR/<task kind>/<criterion>.txt")] = None,
    model: Annotated[
        str, typer.Option(help="as the server calls it", rich_help_panel=OF_JUDGE)
    ] = "Qwen/Qwen2.5-72B-Instruct",
    base_url: Annotated[
        str, typer.Option(help="OpenAI-compatible; the key is read from OPENAI_API_KEY", rich_help_panel=OF_JUDGE)
    ] = "http://127.0.0.1:8000/v1",
    serve: Annotated[
        str | None,
        typer.Option(
            help="start vLLM with this model (built-in name, folder or hub id), and stop it at the end",
            rich_help_panel=OF_JUDGE,
        ),
    ] = None,
    serve_python: Annotated[
        str | None, typer.Option(help="Python of an environment with vLLM; default: this one", rich_help_panel=OF_JUDGE)
    ] = None,
    serve_options: Annotated[
        str, typer.Option(help="more options for vLLM, as one quoted text", rich_help_panel=OF_JUDGE)
    ] = "",
    temperature: Annotated[float, typer.Option(rich_help_panel=OF_JUDGE)] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="longest reply", rich_help_panel=OF_JUDGE)] = 256,
    logprobs: Annotated[
        bool, typer.Option("--logprobs", help="report the probability of the choice too", rich_help_panel=OF_JUDGE)
    ] = False,
    constrained: Annotated[
        bool, typer.Option("--constrained", help="vLLM: replies can only have the form", rich_help_panel=OF_JUDGE)
    ] = False,
    concurrency: Annotated[int, typer.Option(help="calls in flight", rich_help_panel=OF_JUDGE)] = 64,
    attempts: Annotated[int, typer.Option(help="tries of a call that fails", rich_help_panel=OF_JUDGE)] = 8,
    timeout: Annotated[float, typer.Option(help="seconds of one try", rich_help_panel=OF_JUDGE)] = 600.0,
    repeat_check: Annotated[int, typer.Option(help="ask N questions twice", rich_help_panel=OF_RUN)] = 0,
    retry_unparsed: Annotated[
        bool, typer.Option("--retry-unparsed", help="ask again where a reply had no choice", rich_help_panel=OF_RUN)
    ] = False,
    reparse: Annotated[
        bool, typer.Option("--reparse", help="results of what is stored, without a server", rich_help_panel=OF_RUN)
    ] = False,
    human: Annotated[
        Path | None, typer.Option(help="JSON lines of people's preferences: id, preferred", rich_help_panel=OF_RUN)
    ] = None,
    resamples: Annotated[int, typer.Option(help="bootstrap resamples over items", rich_help_panel=OF_RUN)] = 2000,
    seed: Annotated[int, typer.Option(rich_help_panel=OF_RUN)] = 0,
    name: Annotated[str, typer.Option(help="name of the run", rich_help_panel=OF_RUN)] = "judge",
    runs_dir: Annotated[Path, typer.Option(help="where runs live", rich_help_panel=OF_RUN)] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print judge.json", rich_help_panel=OF_RUN)] = False,
    latex: Annotated[bool, typer.Option("--latex", help="print the table in LaTeX", rich_help_panel=OF_RUN)] = False,
    html: Annotated[
        bool, typer.Option("--html", help="write judge.html, with every verdict", rich_help_panel=OF_RUN)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be asked, and stop", rich_help_panel=OF_RUN)
    ] = False,
) -> None:
    """Compare outputs pairwise by a language model; run the same command again to continue after a stop."""
    from ketchup.runs import Run
    from ketchup_eval.inputs import RowsFrom
    from ketchup_eval.judge.judge_settings import ReplySettings
    from ketchup_eval.judge.plan import describe_judgement, make_plan
    from ketchup_eval.judge.run import Asking, check_extent, judge_settings, run_judge
    from ketchup_eval.judge.verdicts import VerdictStore

    sampling = ReplySettings(serve or model, temperature, max_tokens, seed, logprobs, constrained)
    asking = Asking(
        base_url, serve, serve_python, serve_options, concurrency, attempts, timeout, retry_unparsed, reparse
    )
    run = Run.new(name, runs_dir).folder
    check_extent(split, limit, repeat_check, resamples)
    words_are_checked()
    settings = judge_settings(
        a,
        b,
        runs_dir,
        sampling=sampling,
        task=task,
        split=split,
        rows=RowsFrom(data, references, sources),
        criteria=criteria or (),
        prompts=prompts,
        limit=limit,
        repeat_check=repeat_check,
        human=human,
        resamples=resamples,
    )
    plan = make_plan(settings, runs_dir)
    if dry_run:
        say(describe_judgement(plan, VerdictStore(run)))
        return
    try:
        result, failed = run_judge(plan, run, asking, lambda found, store: _write(found, store, run, html))
    except KeyboardInterrupt:
        say(f"{len(VerdictStore(run).verdicts):,} verdicts are stored; continue with: {_command()}", err=True)
        raise
    _name([f"{len(items):,} calls failed ({_some(items)}): {reason}" for reason, items in failed.items()])
    _show(result, run, as_json=as_json, latex=latex)
    _name([f"The server refused {row.votes:,} calls about item {row.item}: {row.words}" for row in result.refusals])
    if not result.complete:
        say(
            f"{100 * result.missing_share:.1f}% of the votes are missing, more than 1%; run the same command again for "
            "failed calls, with --retry-unparsed for replies without a choice and refused prompts.",
            err=True,
        )
        raise typer.Exit(EXIT_INCOMPLETE)


def _name(lines: list[str]) -> None:
    """The first lines, and how many others there are."""
    for line in lines[:SHOWN]:
        say(line, err=True)
    if len(lines) > SHOWN:
        say(f"... and {len(lines) - SHOWN:,} more such lines", err=True)


def _some(items: Sequence[str]) -> str:
    items = list(dict.fromkeys(items))
    others = f" and {len(items) - SHOWN:,} others" if len(items) > SHOWN else ""
    return f"item {', '.join(items[:SHOWN])}{others}"


def _write(result: "JudgeResult", store: "VerdictStore", run: Path, html: bool) -> None:
    if not html:
        return
    from ketchup_eval.report.judge_page import write_judge_page

    say(f"Written: {write_judge_page(result, store, run)}", err=True)


def _show(result: "JudgeResult", run: Path, *, as_json: bool, latex: bool) -> None:
    from ketchup_eval.judge.files import judge_json
    from ketchup_eval.report.judge_latex import judge_latex
    from ketchup_eval.report.judge_table import judge_notes, judge_tables

    if as_json:
        say_json(judge_json(result))
        return
    if latex:
        say(judge_latex(result))
        return
    show(*judge_tables(result), width=WIDTH)
    say(judge_notes(result))
    say(f"Written: {run}/judge.json; every reply is in {run}/verdicts.jsonl")


def _command() -> str:
    return shlex.join(["ketchup", *redacted_command(sys.argv[1:])])
