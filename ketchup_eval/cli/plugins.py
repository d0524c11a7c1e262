"""`--plugin FILE.py`, which every command has: it adds rows to the tables of metrics, methods, estimators and engines.

The class of all commands adds it, so that no command can lack it.
"""

from functools import cache
from typing import Annotated, Any

import typer

NAME = "plugin"


@cache
def plugin_option() -> Any:
    """The option as Typer itself makes it, from a command that has nothing else."""
    alone = typer.Typer(add_completion=False)
    alone.command()(_alone)
    return next(option for option in typer.main.get_command(alone).params if option.name == NAME)


def load_named(ctx: Any) -> None:
    """Imports the plug-ins that a command was given, and takes them from its parameters, which it does not know."""
    named = ctx.params.pop(NAME, None)
    if named:
        from ketchup.plugins import load_plugins

        load_plugins(named)


def _alone(
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin",
            metavar="FILE.py...",
            help="Python files that add metrics, methods, estimators, baselines or engines (docs/plugins.md)",
        ),
    ] = None,
) -> None:
    """Only there for its option."""
