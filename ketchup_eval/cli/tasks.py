"""The option that names a task, alike in all commands."""

from typing import Annotated

import typer

TASK_HELP = "a ready task (demo, gsm8k, xsum, europarl, dolly, wmt14-en-de), or a FILE.toml of your own"
TaskName = Annotated[str, typer.Option(metavar="NAME|FILE", help=TASK_HELP)]
