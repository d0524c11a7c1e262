"""A plan: the file that says what a study trains and measures, read strictly.

    name = "demo"                       the study's runs live in RUNS_DIR/demo
    seeds = [0, 1, 2]
    [tasks.demo]                        a task by name or file (`task`), its `data`, and options by command
    [teachers.large]                    a `model`; with a table `train`, it is fine-tuned on each task first
    [students.small]                    a `model`, or `layers` `of` a model, a teacher or another student; its `start`
    [methods.k4]                        a `method` of `ketchup train`, with its options
    [train] [variance] [evaluate] [compare] [judge]      options of all such commands; what has a table is measured
    [tune]                              learning rates to choose from, alike for every method

An option is called as on the command line, without its dashes. Where tables meet, the more special one wins: [train],
then the task's, the student's, the method's.
"""

import tomllib
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from ketchup.errors import UsageError
from ketchup.hashes import content_hash
from ketchup.runs import Run
from ketchup.tasks import task_named
from ketchup.user_files import read_text
from ketchup_eval.judge.criteria import criteria, template
from ketchup_eval.study.plan import (
    COMMANDS,
    LISTS,
    MEASURES,
    Contest,
    MethodPlan,
    Options,
    Plan,
    StudentPlan,
    TaskPlan,
    TeacherPlan,
    Tuning,
    layered,
    normal,
)
from ketchup_eval.study.tables import Tables


def read_plan(file: Path) -> Plan:
    """The plan in a TOML file.

    Raises `DataError` for a file that cannot be read and `UsageError` for what is no plan: an unknown key, with the
    nearest one known, a value of another kind, a name that is not there, a method that is there twice, a student that
    is made of itself.
    """
    text = read_text(file)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is no TOML ({error}); mend that line.") from error
    except RecursionError as error:
        raise UsageError(f"{file} is no plan, as its lists lie in each other without end; mend them.") from error
    return _Reader(file).plan(content, content_hash(text))


class _Reader(Tables):
    """Reads a plan."""

    def plan(self, content: dict[str, Any], digest: str) -> Plan:
        top = ("name", "seeds", "reference", "drop", "predict", "tune", *LISTS, *COMMANDS)
        self.known("the plan", content, top)
        name = self.typed("the plan", content, "name", str, default=self.file.stem)
        self.check_name(name)
        seeds = self.seeds("the plan", content, (0,))
        named = {kind: self.tables(content, kind) for kind in LISTS}
        tasks = {key: self.task(key, table) for key, table in named["tasks"].items()}
        teachers = {key: self.teacher(key, table, tuple(tasks)) for key, table in named["teachers"].items()}
        methods = {key: self.method(key, table) for key, table in named["methods"].items()}
        self.check_apart(methods)
        every = (teachers, seeds, tuple(tasks), tuple(methods))
        students = {key: self.student(key, table, *every) for key, table in named["students"].items()}
        self.check_students_apart(students)
        self.check_made(students, teachers)
        self.check_taught(students, teachers)
        contests = self.contests(content, tuple(tasks), tuple(methods))
        options = {command: self.options(content, command, f"[{command}]") for command in COMMANDS}
        predict = self.predicts(content)
        drop = self.names("the plan", content, "drop", tuple(methods), ())
        self.check_drop(drop, contests)
        if "judge" in contests:
            self.check_criteria([tasks[name] for name in contests["judge"].tasks], options["judge"])
        return Plan(
            file=self.file,
            digest=digest,
            name=name,
            seeds=seeds,
            tasks=tasks,
            teachers=teachers,
            students=students,
            methods=methods,
            tuning=self.tuning(content, students),
            options=options,
            measures=tuple(command for command in MEASURES if command in content),
            contests=contests,
            predict=predict,
            drop=drop,
        )

    def check_name(self, name: str) -> None:
        try:
            Run.new(name, Path())
        except UsageError as error:
            raise UsageError(f"{self.file}: `name` is that of a folder. {error}") from error

    def task(self, name: str, table: dict[str, Any]) -> TaskPlan:
        place = f"[tasks.{name}]"
        self.known(place, table, ("task", "data", *COMMANDS))
        task = self.typed(place, table, "task", str, default=name)
        try:
            task_named(task)
        except UsageError as error:
            raise UsageError(f"{self.file}: {place}: {error}") from error
        return TaskPlan(
            name=name,
            task=task,
            data=self.typed(place, table, "data", str, default=None),
            options={command: self.options(table, command, f"[tasks.{name}.{command}]") for command in COMMANDS},
        )

    def teacher(self, name: str, table: dict[str, Any], tasks: tuple[str, ...]) -> TeacherPlan:
        place = f"[teachers.{name}]"
        self.known(place, table, ("model", "new", "train", "tuned"))
        if ("model" in table) == ("new" in table):
            raise UsageError(f"{self.file}: {place} needs a `model`, or the options of a `new` one; give one of them.")
        if "tuned" in table and "train" not in table:
            raise UsageError(f"{self.file}: {place} has `tuned` without a table `train`; add one, if it is empty too.")
        tuned = self.names(place, table, "tuned", tasks, tasks if "train" in table else ())
        new = self.options(table, "new", f"[teachers.{name}.new]") if "new" in table else None
        model = self.typed(place, table, "model", str, default=None)
        return TeacherPlan(name, model, new, self.options(table, "train", f"[teachers.{name}.train]"), tuned)

    def method(self, name: str, table: dict[str, Any]) -> MethodPlan:
        place = f"[methods.{name}]"
        method = self.typed(place, table, "method", str, default=name)
        options = {key: value for key, value in table.items() if key != "method"}
        if "seed" in options:
            raise UsageError(
                f"{self.file}: {place} has a seed; leave it out, as `seeds` of the plan are every method's."
            )
        return MethodPlan(name, method, self.checked_options(place, options))

    def student(
        self,
        name: str,
        table: dict[str, Any],
        teachers: Mapping[str, TeacherPlan],
        seeds: tuple[int, ...],
        tasks: tuple[str, ...],
        methods: tuple[str, ...],
    ) -> StudentPlan:
        place = f"[students.{name}]"
        keys = ("model", "of", "layers", "decoder_layers", "teacher", "start", "train", "seeds", "tasks", "methods")
        self.known(place, table, keys)
        layers = self.typed(place, table, "layers", int, default=None)
        model = self.typed(place, table, "model", str, default=None)
        if (model is None) == (layers is None):
            raise UsageError(f"{self.file}: {place} needs a `model`, or how many `layers` of one; give one of them.")
        teacher = self.typed(place, table, "teacher", str, default=next(iter(teachers)))
        self.one_of(place, "teacher", teacher, tuple(teachers))
        of = self.typed(place, table, "of", str, default=None)
        if of is not None and layers is None:
            raise UsageError(f"{self.file}: {place} has `of` without `layers`; say how many to keep.")
        start = self.options(table, "start", f"[students.{name}.start]") if "start" in table else None
        if start is not None:
            self.typed(f"[students.{name}.start]", start, "method", str)
        return StudentPlan(
            name=name,
            model=model,
            of=(of or teacher) if layers is not None else None,
            layers=layers,
            decoder_layers=self.typed(place, table, "decoder_layers", int, default=None),
            teacher=teacher,
            start=start,
            train=self.options(table, "train", f"[students.{name}.train]"),
            seeds=self.seeds(place, table, seeds),
            tasks=self.names(place, table, "tasks", tasks, tasks, some=True),
            methods=self.names(place, table, "methods", methods, methods),
        )

    def tuning(self, content: dict[str, Any], students: Mapping[str, StudentPlan]) -> Tuning | None:
        if "tune" not in content:
            return None
        table, place = self.table("the plan", content, "tune"), "[tune]"
        self.known(place, table, ("learning_rate", "seed", "train"))
        rates = table.get("learning_rate")
        if not isinstance(rates, list) or len(rates) < 2 or not all(_is_number(rate) for rate in rates):
            raise UsageError(f"{self.file}: {place} needs `learning_rate`, a list of two or more numbers.")
        if len({f"{rate:g}" for rate in rates}) < len(rates):  # as runs are named
            raise UsageError(
                f"{self.file}: {place} has a learning rate twice, by its first six digits; name each once."
            )
        seed = self.typed(place, dict(table), "seed", int, default=1000)
        if any(seed in student.seeds for student in students.values()):
            raise UsageError(
                f"{self.file}: {place} tunes with seed {seed}, one that results are made with; take another."
            )
        return Tuning(tuple(float(rate) for rate in rates), seed, self.options(table, "train", "[tune.train]"))

    def check_apart(self, methods: Mapping[str, MethodPlan]) -> None:
        for one, two in combinations(methods.values(), 2):
            if (one.method, normal(one.options)) == (two.method, normal(two.options)):
                raise UsageError(
                    f"{self.file}: [methods.{one.name}] and [methods.{two.name}] are the same method twice; leave one "
                    "of them out."
                )

    def check_students_apart(self, students: Mapping[str, StudentPlan]) -> None:
        made = ("model", "of", "layers", "decoder_layers", "teacher", "start", "train")
        for one, two in combinations(students.values(), 2):
            alike = all(getattr(one, key) == getattr(two, key) for key in made)
            if alike and set(one.tasks) & set(two.tasks):
                raise UsageError(
                    f"{self.file}: [students.{one.name}] and [students.{two.name}] are the same student twice; leave "
                    "one of them out, or give them other `tasks`."
                )

    def check_made(self, students: Mapping[str, StudentPlan], teachers: Mapping[str, TeacherPlan]) -> None:
        for name in students.keys() & teachers.keys():
            raise UsageError(f'{self.file}: "{name}" is a teacher and a student; call one of them otherwise.')
        for student in students.values():
            seen, of = [student.name], students.get(student.of or "")
            while of is not None:
                if of.name in seen:
                    raise UsageError(f"{self.file}: a student is made of itself ({' of '.join([*seen, of.name])}).")
                seen.append(of.name)
                of = students.get(of.of or "")

    def check_taught(self, students: Mapping[str, StudentPlan], teachers: Mapping[str, TeacherPlan]) -> None:
        for student in students.values():
            teacher = teachers[student.teacher]
            untaught = [task for task in student.tasks if task not in teacher.tuned]
            if teacher.new is not None and untaught:
                raise UsageError(
                    f"{self.file}: [teachers.{teacher.name}] is new and not trained on {untaught[0]}, where "
                    f"{student.name} learns from it; add a table `train`, or give the student other `tasks`."
                )

    def contests(self, content: dict[str, Any], tasks: tuple[str, ...], methods: tuple[str, ...]) -> dict[str, Contest]:
        found: dict[str, Contest] = {}
        for command in ("compare", "judge"):
            if command not in content:
                continue
            table, place = self.table("the plan", content, command), f"[{command}]"
            reference = self.typed(place, {**content, **table}, "reference", str, default=None)
            if reference is None:
                raise UsageError(f"{self.file}: {place} needs a `reference`, the method that others are held to.")
            self.one_of(place, "reference", reference, methods)
            others = tuple(name for name in methods if name != reference)
            found[command] = Contest(
                reference,
                self.names(place, table, "methods", others, others, some=True),
                self.names(place, table, "tasks", tasks, tasks, some=True),
            )
        return found

    def options(self, content: Mapping[str, Any], key: str, place: str) -> dict[str, Any]:
        """The options of a command in the table `key`, without what says who takes part in a contest."""
        table = self.table("the plan" if place == f"[{key}]" else place, content, key)
        about = ("reference", "methods", "tasks") if place in ("[compare]", "[judge]") else ()
        return self.checked_options(place, {key: value for key, value in table.items() if key not in about})

    def predicts(self, content: dict[str, Any]) -> bool:
        found = content.get("predict", False)
        if not isinstance(found, bool):
            raise UsageError(f"{self.file}: the plan has predict = {found!r:.40}; write true or false.")
        if found and self.table("the plan", content, "variance").get("gradient") is not True:
            raise UsageError(f"{self.file}: `predict` goes by measured gradients; add `gradient = true` to [variance].")
        return found

    def check_drop(self, drop: Sequence[str], contests: Mapping[str, Contest]) -> None:
        for command, contest in contests.items():
            if contest.reference in drop:
                raise UsageError(f"{self.file}: `drop` has {contest.reference}, the reference of [{command}].")

    def check_criteria(self, tasks: Sequence[TaskPlan], options: Options) -> None:
        for task in tasks:
            given = layered(options, task.options["judge"])
            prompts = Path(str(given["prompts"])) if "prompts" in given else None
            named = given.get("criteria", [])
            kind = task_named(task.task).kind
            try:
                for name in named if isinstance(named, list) else [named]:
                    template(kind, str(name), prompts)
                criteria(kind, prompts)
            except UsageError as error:
                raise UsageError(f"{self.file}: [judge] cannot judge {task.name}: {error}") from error


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
