"""Lists on the command line: `--k 1 2 4` where Typer itself knows only `--k 1 --k 2 --k 4`."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from typer.core import TyperCommand

OPTION = re.compile(r"-(?!\.?\d).")
"""A dash and more, but no negative number."""


class ManyValues(TyperCommand):
    """A command whose list options take several values.

    A list goes on until the next option or `--`. So positional arguments come first, or after `--`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write the name of a list option before each of its values, then parse as usual."""
        list_options = {
            name
            for option in self.get_params(ctx)
            if option.param_type_name == "option" and option.multiple
            for name in option.opts
        }
        return super().parse_args(ctx, list(repeat_names(args, list_options)))


def repeat_names(arguments: Iterable[str], list_options: set[str]) -> Iterator[str]:
    """`--k 1 2` becomes `--k 1 --k 2` for each name in `list_options`; all else stays as it is."""
    arguments = iter(arguments)
    current = None  # the list option whose values are being read
    for argument in arguments:
        if argument == "--":
            yield argument
            yield from arguments
        elif current and not OPTION.match(argument):
            yield from (current, argument)
        else:
            yield argument
            name = _option_name(argument)
            current = name if name in list_options else None
            if argument == current:  # its first value follows, whatever that looks like
                yield from _at_most_one(arguments)


def _option_name(argument: str) -> str:
    """`--k` of `--k=1`, `-k` of `-k1`."""
    return argument.split("=", 1)[0] if argument.startswith("--") else argument[:2]


def _at_most_one(arguments: Iterator[str]) -> Iterator[str]:
    for argument in arguments:
        yield argument
        return
