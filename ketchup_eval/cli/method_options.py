"""The options of `ketchup train` that belong to methods, made of the signatures of their builders.

So a method with an option of its own is a file and a row, or a plug-in. They are read when the command is parsed, not
before: plug-ins bring methods of their own.
"""

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

import typer

from ketchup_eval.cli.command import Command

PANEL = "Method"
GIVEN = "ketchup.method_options"
"""Where the context of the command has their values."""
MADE, NAMES = "ketchup.options", "ketchup.names_of_method_options"
"""Where it has all options, and the names of those of methods: parsing asks for them again and again."""
FEW = 3
"""Methods that an option's help names; what more of them have goes without saying."""


class WithMethodOptions(Command):
    """A command that takes a METHOD and, beside its own options, those of all methods."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its parameters; raises `UsageError` where an option of a method has the name of one of its own."""
        if MADE in ctx.meta:
            made: list[Any] = ctx.meta[MADE]
            return made
        from ketchup.methods import METHODS

        own: list[Any] = super().get_params(ctx)
        for argument in own:
            if argument.name == "method":
                argument.help = ", ".join(METHODS)
        place = next(index for index, parameter in enumerate(own) if getattr(parameter, "rich_help_panel", None))
        of_methods = _made({parameter.name for parameter in own})
        ctx.meta[MADE] = [*own[:place], *of_methods, *own[place:]]
        ctx.meta[NAMES] = [option.name for option in of_methods]
        return list(ctx.meta[MADE])

    def invoke(self, ctx: Any) -> Any:
        """Run the command, which finds values of its methods' options in the context."""
        _set_apart(ctx)
        return super().invoke(ctx)

    def check(self, ctx: Any) -> None:
        """The same for looking at the words alone."""
        _set_apart(ctx)
        super().check(ctx)


def _set_apart(ctx: Any) -> None:
    """Moves the values of methods' options from the parameters of a command to where `given` finds them."""
    ctx.meta[GIVEN] = {name: ctx.params.pop(name) for name in ctx.meta[NAMES]}


def given(ctx: typer.Context) -> dict[str, Any]:
    """The values of all methods' options, `None` for those that were not given."""
    found: dict[str, Any] = ctx.meta[GIVEN]
    return found


def _made(own: set[str]) -> list[Any]:
    """The options of all methods; raises `UsageError` for one that has the name of one of the command's `own`."""
    from ketchup.errors import UsageError
    from ketchup.methods import options

    known = options()
    for option in known.values():
        if option.name in own:
            raise UsageError(
                f"{next(iter(option.defaults))} has an option {option.name}, as the command itself; call it otherwise."
            )
    return _typed(tuple((one.name, one.kind, one.said, tuple(one.defaults.items())) for one in known.values()))


@lru_cache(maxsize=1)  # a study parses hundreds of commands, and none of them brings a method of its own
def _typed(options: tuple[tuple[str, Any, str, tuple[tuple[str, Any], ...]], ...]) -> list[Any]:
    """Options of a name, a type, what is said of them and defaults by method, as Typer itself makes them."""
    hints = {}
    for name, kind, said, defaults in options:
        flags = [f"--{name.replace('_', '-')}", *([f"-{name}"] if len(name) == 1 else [])]
        about = typer.Option(*flags, help=_help(said, dict(defaults)), rich_help_panel=PANEL)
        hints[name] = Annotated[kind | None, about]

    def alone() -> None:
        """Only there for its options."""

    alone.__annotations__ = hints
    alone.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)
            for name, hint in hints.items()
        ]
    )
    program = typer.Typer(add_completion=False)
    program.command()(alone)
    return [parameter for parameter in typer.main.get_command(program).params if parameter.name in hints]


def _help(said: str, defaults: Mapping[str, Any]) -> str:
    """What it is, for which methods if they are few, and its default; of each method where they differ."""
    from ketchup.methods import REQUIRED

    told = {name: _shown(value) for name, value in defaults.items() if value is not REQUIRED}
    parts = [said, f"of {', '.join(defaults)}" if len(defaults) <= FEW else ""]
    if len(set(told.values())) == 1:
        parts.append(f"default: {next(iter(told.values()))}")
    elif told:
        parts.append(f"default: {', '.join(f'{value} ({name})' for name, value in told.items())}")
    return "; ".join(filter(None, parts))


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
