"""The option that names a task, alike in all commands."""

from typing import Annotated

import typer

from ketchup.choices import READY_TASKS

TASK_HELP = f"a ready task ({', '.join(READY_TASKS)}), or a FILE.toml of your own"
TaskName = Annotated[str, typer.Option(metavar="NAME|FILE", help=TASK_HELP)]
