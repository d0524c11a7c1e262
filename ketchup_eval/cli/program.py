"""The program `ketchup`: its commands in one table, and what holds for the whole process."""

import gc
import io
import sys
from typing import Annotated

import typer

import ketchup
from ketchup_eval.cli.audit import audit
from ketchup_eval.cli.command import Command
from ketchup_eval.cli.compare import compare
from ketchup_eval.cli.doctor import doctor
from ketchup_eval.cli.evaluate import evaluate
from ketchup_eval.cli.init_student import init_student
from ketchup_eval.cli.judge import judge
from ketchup_eval.cli.method_options import WithMethodOptions
from ketchup_eval.cli.output import log_plainly, say
from ketchup_eval.cli.report import report
from ketchup_eval.cli.study import study
from ketchup_eval.cli.train import train
from ketchup_eval.cli.variance import variance

app = typer.Typer(
    name="ketchup",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # errors are one sentence, see `command`
)

COMMANDS = (train, init_student, variance, evaluate, compare, judge, report, study, audit, doctor)
"""In the order of the help; a command's name is its function's, with hyphens."""
OBJECTS_PER_COLLECTION = 10_000
"""Python looks for garbage after 700 new objects. Ours live until the end, by the hundred thousand: looking so often
takes a quarter of the time that resuming a large verdict store needs."""

for function in COMMANDS:
    app.command(cls=WithMethodOptions if function is train else Command)(function)


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        say(f"ketchup {ketchup.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Distil language models with reinforcement learning, and measure what it does."""


def run() -> None:
    """Run the command that the process was started with."""
    gc.set_threshold(OBJECTS_PER_COLLECTION)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a character that a terminal lacks ends no command
    log_plainly()
    app(prog_name="ketchup")
