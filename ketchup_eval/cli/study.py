"""`ketchup study PLAN`: a whole comparison by one command."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ketchup import checks
from ketchup.errors import UsageError
from ketchup.files import atomic_write_text
from ketchup_eval.cli.output import say, say_json, show

if TYPE_CHECKING:
    from ketchup_eval.study.claims.base import Judged
    from ketchup_eval.study.collect import Content
    from ketchup_eval.study.keeping import Keeper
    from ketchup_eval.study.node import Node
    from ketchup_eval.study.plan import Plan
    from ketchup_eval.study.running import Outcome

EXIT_INCOMPLETE = 3
MOST_JOBS = 1024
WIDTH = 180
"""Columns of a table that is not printed on a terminal."""


def study(
    plan: Annotated[Path, typer.Argument(help="TOML file: teachers, students, tasks, methods, what to measure")],
    jobs: Annotated[int, typer.Option(help="commands at once, which share the CPU's threads")] = 1,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME...", help="these results alone: names, kinds, or patterns")
    ] = None,
    until: Annotated[
        list[str] | None, typer.Option(metavar="NAME...", help="these results and all that they need")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK=DIR...", help="where the rows of tasks are, in place of what the plan says"),
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="with --dry-run: time a short piece of each kind of command")
    ] = False,
    drop: Annotated[int, typer.Option(help="leave out the first N methods of the plan's `drop`")] = 0,
    print_lines: Annotated[bool, typer.Option("--print", help="print the commands as shell lines, and stop")] = False,
    snakefile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write the graph as a Snakemake workflow, and stop")
    ] = None,
    node: Annotated[str | None, typer.Option(help="run this one result, for an engine that keeps the order")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of a command; default: all, shared")] = None,
    runs_dir: Annotated[Path, typer.Option(help="where runs live; the study's are in a folder there")] = Path("runs"),
    report: Annotated[
        bool, typer.Option("--report", help="run nothing, or only --node; write anew what is known so far")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print study.json instead of tables")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, and stop")] = False,
) -> None:
    """Do all that a plan says; run the same command again to continue after a stop."""
    checks.whole("--jobs", jobs, most=MOST_JOBS)
    checks.whole("--threads", threads, most=checks.MOST_WORKERS)
    ways = {"--node": node, "--print": print_lines, "--snakefile": snakefile, "--dry-run": dry_run}
    chosen_ways = [way for way, given in ways.items() if given]
    if len(chosen_ways) > 1:
        raise UsageError(f"{' and '.join(chosen_ways)} are different things to do; leave all but one out.")
    if probe and not dry_run:
        raise UsageError("--probe goes with --dry-run, which says how long a study takes.")
    from ketchup.plugins import LOADED
    from ketchup_eval.cli.plan_check import check_commands
    from ketchup_eval.study.graph import graph
    from ketchup_eval.study.reading import read_plan
    from ketchup_eval.study.running import run_graph, run_node
    from ketchup_eval.study.selection import selected
    from ketchup_eval.study.shell import shell_line
    from ketchup_eval.study.shell import snakefile as workflow
    from ketchup_eval.study.stamps import done_as_planned

    named = tuple(LOADED)  # by the words of this command: plug-ins that a plan's commands name are theirs alone
    read = read_plan(plan).without(drop).with_data(data or ())
    nodes, folder = graph(read, runs_dir, named), runs_dir / read.name
    if node is not None:
        if node not in nodes:
            raise UsageError(f'{plan} has no result "{node}"; --dry-run names all.')
        code = run_node(nodes[node], folder, threads)
        if report:
            _keeper(read, nodes, folder).refresh()
        if code:
            _tell_failure(folder, node)
        raise typer.Exit(code)
    chosen = selected(nodes, only or (), until or ())
    if not report:
        done = done_as_planned(folder, nodes)  # they were taken once
        check_commands(read, [one for name, one in nodes.items() if name not in done])
    if print_lines:
        _print_lines([shell_line(one) for one in chosen.values()])
    elif snakefile is not None:
        words = ["study", str(plan), "--runs-dir", str(runs_dir), *(["--data", *data] if data else [])]
        words += ["--drop", str(drop)] if drop else []
        words += ["--plugin", *named] if named else []
        atomic_write_text(snakefile, workflow(chosen.values(), words, folder, threads or 1))
        say(f"Written: {snakefile}")
    elif dry_run:
        _show_plan(nodes, chosen, folder, jobs, probe=probe)
    else:
        keep = _keeper(read, nodes, folder)
        outcome = None if report else run_graph(nodes, chosen, folder, jobs, threads, keep.watch)
        _report(*keep.now(), folder, as_json=as_json)
        if outcome is not None:
            _tell(outcome, folder)


def _keeper(plan: "Plan", nodes: "dict[str, Node]", folder: Path) -> "Keeper":
    from ketchup_eval.report.study.page import write_study_page
    from ketchup_eval.study.keeping import Keeper

    return Keeper(plan, nodes, folder, partial(write_study_page, folder))


def _show_plan(nodes: "dict[str, Node]", chosen: "dict[str, Node]", folder: Path, jobs: int, *, probe: bool) -> None:
    from ketchup.progress import clock
    from ketchup_eval.study.estimate import estimate
    from ketchup_eval.study.shell import counts, shell_line
    from ketchup_eval.study.stamps import read_stamps

    stamps = read_stamps(folder, chosen)
    done = {name for name, stamp in stamps.items() if stamp.state == "done"}
    for name, node in chosen.items():
        say(f"{'done' if name in done else 'to do':6}{name}: {shell_line(node)}")
    say(f"{len(chosen):,} commands ({counts(chosen)}), of which {len(done):,} are done; results go to {folder}.")
    left = estimate(chosen, stamps, nodes, folder, probe=probe)
    if left.basis:
        least = "at least" if left.unknown else "about"
        say(f"What is left takes {least} {clock(left.seconds / jobs)} with --jobs {jobs}: {', '.join(left.basis)}.")
    if left.unknown:
        hint = "" if probe else "; --probe tries a short piece of each, but for a judge"
        say(f"Not known: how long {', '.join(left.unknown)} takes{hint}.")


def _print_lines(lines: "list[str]") -> None:
    from ketchup.redaction import HIDDEN

    say("\n".join(lines))
    if any(HIDDEN in line for line in lines):
        say(f"Keys and passwords are not printed; each stands where a line has {HIDDEN}.", err=True)


def _report(content: "Content", claims: "list[Judged]", folder: Path, *, as_json: bool) -> None:
    from ketchup_eval.report.study.drawn import write_figures
    from ketchup_eval.report.study.figures import study_figures
    from ketchup_eval.report.study.files import REPORT, write_tables
    from ketchup_eval.report.study.page import write_study_page
    from ketchup_eval.report.study.tables import study_tables
    from ketchup_eval.report.study.written import in_terminal

    tables = study_tables(content)
    written = write_tables(tables, folder) + write_figures(study_figures(content), folder / REPORT)
    page = write_study_page(folder, content, claims)
    if as_json:
        say_json(content)
        return
    show(*in_terminal(tables), width=WIDTH)
    say("\n".join(dict.fromkeys(table.about for table in tables)))
    names = ", ".join(path.name for path in written)
    say(f"Written: {page}, study.json, claims.json{f'; in {folder / REPORT}: {names}' if names else ''}")


def _tell(outcome: "Outcome", folder: Path) -> None:
    for name in outcome.failed:
        _tell_failure(folder, name)
    if outcome.unreached:
        say(f"Not reached, as what they need failed: {', '.join(outcome.unreached)}.", err=True)
    say(f"{len(outcome.done):,} results are done in {folder}.", err=True)
    if outcome.failed or outcome.unreached:
        say("Run the same command again to try what is missing.", err=True)
        raise typer.Exit(EXIT_INCOMPLETE)


def _tell_failure(folder: Path, name: str) -> None:
    from ketchup_eval.study.running import reason
    from ketchup_eval.study.stamps import log_path

    say(f"{name} failed: {reason(folder, name)} (all of it: {log_path(folder, name)})", err=True)
