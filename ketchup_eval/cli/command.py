"""What every command does alike: lists of values, and errors of one sentence with an exit code."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from ketchup.errors import KetchupError
from ketchup.files import is_disk_full
from ketchup.texts import one_line
from ketchup_eval.cli.checking import only_checking
from ketchup_eval.cli.interrupts import EXIT_INTERRUPTED, raise_where_work_is_done
from ketchup_eval.cli.many_values import ManyValues
from ketchup_eval.cli.output import say, show_traceback
from ketchup_eval.cli.plugins import PLUGIN, load_plugins_named, plugin_option

EXIT_ERROR = 1


class Command(ManyValues):
    """The class of every command.

    Exit codes: 0 done, 1 error, 2 usage, 3 finished but incomplete, 130 interrupted. Errors go to stderr; `ketchup
    --debug` shows their traceback too.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params = [*self.params, plugin_option()]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Load the plug-ins, which may bring options, then parse as usual."""
        with _ending_in_a_sentence(ctx):
            load_plugins_named(args)
            self.get_params(ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; its errors end as one sentence."""
        raise_where_work_is_done()
        ctx.params.pop(PLUGIN, None)  # what the command does not know
        with _ending_in_a_sentence(ctx):
            return super().invoke(ctx)

    def check(self, ctx: Any) -> None:
        """Raises the `UsageError` of a parsed command that would be refused for its words, and runs nothing."""
        ctx.params.pop(PLUGIN, None)
        with only_checking():
            super().invoke(ctx)


@contextmanager
def _ending_in_a_sentence(ctx: Any) -> Iterator[None]:
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except KeyboardInterrupt as interrupt:
        say("Interrupted; run the same command again to continue.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from interrupt
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise  # `ketchup ... | head`, which Typer ends quietly
        if ctx.find_root().params.get("debug"):
            show_traceback(error)
        say(f"Error: {one_line(_sentence(error, ctx))}", err=True)
        raise typer.Exit(error.exit_code if isinstance(error, KetchupError) else EXIT_ERROR) from error


def _sentence(error: Exception, ctx: Any) -> str:
    if isinstance(error, KetchupError):
        return str(error)
    if is_disk_full(error):
        return "The disk is full; free some space and run the same command again."
    first_line = (str(error).strip().splitlines() or ["no message"])[0]
    return (
        f"Unexpected {type(error).__name__} ({first_line}); "
        f"run with --debug for the traceback (`ketchup --debug {ctx.info_name} ...`)."
    )
