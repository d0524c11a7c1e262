"""The tasks, one file each; a new one is a file with a `TASK` and a row of `TASKS`."""

from difflib import get_close_matches

from ketchup.errors import UsageError
from ketchup.tasks import demo, europarl, gsm8k, xsum
from ketchup.tasks.base import Task

TASKS: dict[str, Task] = {
    "demo": demo.TASK,
    "gsm8k": gsm8k.TASK,
    "xsum": xsum.TASK,
    "europarl": europarl.TASK,
}


def task(name: str) -> Task:
    """The task of that name; `UsageError` with the known names for any other."""
    if name in TASKS:
        return TASKS[name]
    close = get_close_matches(name, TASKS, n=1)
    hint = f'did you mean "{close[0]}"' if close else "choose one"
    raise UsageError(f'there is no task "{name}": {hint} of {", ".join(TASKS)}')
