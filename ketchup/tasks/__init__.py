"""The tasks: files of this folder by name, and files of users by path; a new ready one is a file here."""

from difflib import get_close_matches
from pathlib import Path

from ketchup.errors import UsageError
from ketchup.tasks.base import Task
from ketchup.tasks.task_file import read_task

SUFFIX = ".toml"
TASKS: dict[str, Task] = {
    path.stem: read_task(path, ready=True) for path in sorted(Path(__file__).parent.glob(f"*{SUFFIX}"))
}


def short_name(name: str) -> str:
    """What a task is called in names of runs: its name, or that of its file."""
    return Path(name).stem if name.endswith(SUFFIX) else name


def task_named(name: str) -> Task:
    """The ready task of that name, or the one of a file `*.toml`; `UsageError` with the known names for any other."""
    if name in TASKS:
        return TASKS[name]
    if name.endswith(SUFFIX):
        return read_task(Path(name))
    close = get_close_matches(name, TASKS, n=1)
    hint = f'did you mean "{close[0]}"' if close else "choose one"
    raise UsageError(f'there is no task "{name}": {hint} of {", ".join(TASKS)}, or name a file that ends in {SUFFIX}')
