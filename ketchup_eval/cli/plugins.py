"""`--plugin FILE.py`, which every command has: it adds rows to the tables of metrics, methods, estimators and engines.

The class of all commands adds it, so that no command can lack it.
"""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise, takewhile
from typing import Annotated, Any

import typer

from ketchup_eval.cli.many_values import repeat_names

PLUGIN = "plugin"
FLAG = "--plugin"


@cache
def plugin_option() -> Any:
    """The option as Typer itself makes it, from a command that has nothing else."""
    alone = typer.Typer(add_completion=False)
    alone.command()(_alone)
    return next(option for option in typer.main.get_command(alone).params if option.name == PLUGIN)


def load_plugins_named(args: Sequence[str]) -> None:
    """Imports the plug-ins that the words of a command name, before they are parsed: they may bring options."""
    words = list(takewhile(lambda word: word != "--", repeat_names(args, {FLAG})))
    named = [value for word, value in pairwise(words) if word == FLAG]
    named += [word.removeprefix(f"{FLAG}=") for word in words if word.startswith(f"{FLAG}=")]
    if named:
        from ketchup.plugins import load_plugins

        load_plugins(named)


def _alone(
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            FLAG,
            metavar="FILE.py...",
            help="Python files that add metrics, methods, estimators, baselines or engines (docs/plugins.md)",
        ),
    ] = None,
) -> None:
    """Only there for its option."""
