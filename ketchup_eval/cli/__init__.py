"""The command line `ketchup`: one file a command, which imports what is slow only when it runs."""

from ketchup.children import end_with_parent
from ketchup.machine import keep_buffers
from ketchup_eval.cli.interrupts import leave_at_once


def main() -> None:
    """The entry point of the installed `ketchup`."""
    leave_at_once()
    end_with_parent()
    keep_buffers()
    from ketchup_eval.cli.program import run  # a tenth of a second, in which Ctrl-C may already come

    run()


def __getattr__(name: str) -> object:
    """`app`, the whole program, for those who import it."""
    if name == "app":
        from ketchup_eval.cli.program import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
