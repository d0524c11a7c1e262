"""A plan: what a study trains and measures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ketchup import checks
from ketchup.errors import UsageError

Options = Mapping[str, Any]
"""Options of a command by their names, which may be written with - or _."""

COMMANDS = ("train", "variance", "evaluate", "compare", "judge")
MEASURES = COMMANDS[1:]
LISTS = ("tasks", "teachers", "students", "methods")


@dataclass(frozen=True)
class TaskPlan:
    """A task: its name or file, its rows, and options of commands that hold for it alone."""

    name: str
    task: str
    data: str | None
    options: Mapping[str, Options]


@dataclass(frozen=True)
class TeacherPlan:
    """A teacher: a model, which `train sft` with the options of `train` fine-tunes first on the tasks of `tuned`.

    In place of a model there may be `new`: options of `init-student --new`, for a model that each task begins anew.
    """

    name: str
    model: str | None
    new: Options | None
    train: Options
    tuned: tuple[str, ...]


@dataclass(frozen=True)
class StudentPlan:
    """A student: the model that it is, or how many layers of which model; `start` is its pre-distillation.

    `teacher` is whom it learns from. `seeds`, `tasks` and `methods` are those of the plan unless it has its own.
    """

    name: str
    model: str | None
    of: str | None
    layers: int | None
    decoder_layers: int | None
    teacher: str
    start: Options | None
    train: Options
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    methods: tuple[str, ...]


@dataclass(frozen=True)
class MethodPlan:
    """An arm of the study: a method of `ketchup train` with its options."""

    name: str
    method: str
    options: Options


@dataclass(frozen=True)
class Contest:
    """What a `compare` or `judge` holds to a `reference`: which methods, on which tasks."""

    reference: str
    methods: tuple[str, ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Tuning:
    """Learning rates among which each task, student and method chooses by its best validation, with one seed.

    The seed is none of the study's, so that no result has been chosen for being good.
    """

    rates: tuple[float, ...]
    seed: int
    options: Options


@dataclass(frozen=True)
class Plan:
    """A whole study; `digest` is the hash of the file's text."""

    file: Path
    digest: str
    name: str
    seeds: tuple[int, ...]
    tasks: Mapping[str, TaskPlan]
    teachers: Mapping[str, TeacherPlan]
    students: Mapping[str, StudentPlan]
    methods: Mapping[str, MethodPlan]
    tuning: Tuning | None
    options: Mapping[str, Options]
    measures: tuple[str, ...]
    contests: Mapping[str, Contest]
    """Those of `compare` and `judge`, where they are measured."""
    predict: bool = False
    """Whether the order that measured gradients foretell is frozen before anything trains."""
    drop: tuple[str, ...] = ()
    """Methods that are left out first where time is short, in this order."""

    def without(self, count: int) -> "Plan":
        """The plan without the first `count` methods of `drop`."""
        checks.whole("--drop", count, least=0, most=len(self.drop), because="")
        gone = set(self.drop[:count])
        methods = {name: method for name, method in self.methods.items() if name not in gone}
        students = {
            name: _replaced(student, tuple(method for method in student.methods if method not in gone))
            for name, student in self.students.items()
        }
        return Plan(**{**vars(self), "methods": methods, "students": students, "drop": self.drop[count:]})

    def with_data(self, given: Sequence[str]) -> "Plan":
        """The plan with other folders of rows: each `TASK=FOLDER`. Raises `UsageError` for a task that it has not."""
        tasks = dict(self.tasks)
        for one in given:
            name, equals, folder = one.partition("=")
            if not equals or not folder or name not in tasks:
                raise UsageError(
                    f"--data takes TASK=FOLDER with one of the plan's tasks ({', '.join(tasks)}), not {one!r}."
                )
            tasks[name] = TaskPlan(**{**vars(tasks[name]), "data": folder})
        return Plan(**{**vars(self), "tasks": tasks})


def _replaced(student: StudentPlan, methods: tuple[str, ...]) -> StudentPlan:
    return StudentPlan(**{**vars(student), "methods": methods})


def normal(options: Options) -> dict[str, Any]:
    """Options under the names that Python gives them, in order."""
    return {key.replace("-", "_"): options[key] for key in sorted(options)}


def layered(*tables: Options) -> dict[str, Any]:
    """Options of all tables, of which the later ones win; `steps` and `epochs` stand for each other."""
    found: dict[str, Any] = {}
    for table in map(normal, tables):
        for one, other in (("steps", "epochs"), ("epochs", "steps")):
            if one in table:
                found.pop(other, None)
        found |= table
    return found
