"""The graph of a plan: ordinary commands, each with those that must be done before it.

Nothing here runs or reads a run: the same plan always gives the same graph.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ketchup.errors import UsageError
from ketchup.runs import Run
from ketchup_eval.study import names
from ketchup_eval.study.node import Node
from ketchup_eval.study.plan import Options, Plan, StudentPlan, TaskPlan, layered, normal
from ketchup_eval.study.ranking import Ranking

Runs = Mapping[str, Sequence[str]]
"""By method, the names of its runs, one a seed."""


def graph(plan: Plan, runs_dir: Path, plugins: Sequence[str] = ()) -> dict[str, Node]:
    """The nodes by name, each after those that it needs; a `UsageError` where two would have one name.

    Every command gets the `plugins`, as any may use what they add.
    """
    nodes: dict[str, Node] = {}
    named = ("--plugin", *plugins) if plugins else ()
    for planned in _Graph(plan, runs_dir / plan.name).nodes():
        node = replace(planned, words=(*planned.words, *named))
        Run.new(node.name, runs_dir)
        if node.name in nodes:
            if nodes[node.name] == node:
                continue  # a teacher or a model that several students share
            raise UsageError(f'{plan.file}: two results would be called "{node.name}"; rename a student or a method.')
        nodes[node.name] = node
    return nodes


@dataclass(frozen=True)
class _Graph:
    plan: Plan
    folder: Path

    def nodes(self) -> Iterator[Node]:
        """All, in the order in which they could run one by one."""
        for task in self.plan.tasks.values():
            for student in self._students(task):
                yield from self._teacher(task, student.teacher)
                yield from self._made(task, student)
        if "variance" in self.plan.measures:
            yield from self._variances()
        if self.plan.predict:
            yield from self._rankings()
        for task in self.plan.tasks.values():
            for student in self._students(task):
                yield from self._trained(task, student)
        for task in self.plan.tasks.values():
            for student in self._students(task):
                yield from self._measured(task, student)

    def _students(self, task: TaskPlan) -> list[StudentPlan]:
        return [student for student in self.plan.students.values() if task.name in student.tasks]

    # Models

    def _teacher(self, task: TaskPlan, name: str) -> Iterator[Node]:
        teacher = self.plan.teachers[name]
        if task.name not in teacher.tuned:
            return
        run = names.teacher(task, name)
        options = layered(self._options("train", task), teacher.train)
        labels = {"task": task.name, "teacher": name}
        model, needs = teacher.model, tuple[str, ...]()
        if teacher.new is not None:
            model = str(self.folder / names.init(task, name))
            made = ("init-student", "--new", *self._rows(task), *_words(normal(teacher.new)), "--out", model)
            yield Node(names.init(task, name), "init", made, (), labels, threads=False)
            needs = (names.init(task, name),)
        words = ["train", "sft", *self._rows(task), "--student", str(model), *_words(options), *self._named(run)]
        yield Node(run, "teacher", tuple(words), needs, labels)

    def _teacher_model(self, task: TaskPlan, name: str) -> tuple[str, tuple[str, ...]]:
        """A teacher as commands name it, and what must be done before it is there."""
        if task.name not in self.plan.teachers[name].tuned:
            return str(self.plan.teachers[name].model), ()
        run = names.teacher(task, name)
        return str(Run(self.folder / run).checkpoint("best")), (run,)

    def _made(self, task: TaskPlan, student: StudentPlan) -> Iterator[Node]:
        """A student of some layers, and its pre-distillation."""
        labels = {"task": task.name, "student": student.name}
        if student.of in self.plan.students:
            yield from self._made(task, self.plan.students[str(student.of)])
        if student.layers is not None:
            model, needs = self._source(task, str(student.of))
            kept = {"layers": student.layers, "decoder_layers": student.decoder_layers}
            out = self.folder / names.init(task, student.name)
            words = ("init-student", "--teacher", model, *_words(kept), "--out", str(out))
            yield Node(out.name, "init", words, needs, labels, threads=False)
        if student.start is not None:
            model, needs = self._beginning(task, student)
            teacher, more = self._teacher_model(task, student.teacher)
            options = layered(self._options("train", task), student.train, student.start)
            method = str(options.pop("method"))
            run = names.start(task, student)
            models = ["--teacher", teacher, "--student", model]
            words = ("train", method, *self._rows(task), *models, *_words(options), *self._named(run))
            yield Node(run, "start", words, (*needs, *more), labels)

    def _source(self, task: TaskPlan, of: str) -> tuple[str, tuple[str, ...]]:
        """What a student is made of: a teacher, another student as it begins, or any model."""
        if of in self.plan.teachers:
            return self._teacher_model(task, of)
        if of in self.plan.students:
            return self._student_model(task, self.plan.students[of])
        return of, ()

    def _beginning(self, task: TaskPlan, student: StudentPlan) -> tuple[str, tuple[str, ...]]:
        """A student before its pre-distillation."""
        if student.layers is None:
            return str(student.model), ()
        made = names.init(task, student.name)
        return str(self.folder / made), (made,)

    def _student_model(self, task: TaskPlan, student: StudentPlan) -> tuple[str, tuple[str, ...]]:
        """A student as every method gets it."""
        if student.start is None:
            return self._beginning(task, student)
        run = names.start(task, student)
        return str(Run(self.folder / run).checkpoint("best")), (run,)

    # Training

    def _trained(self, task: TaskPlan, student: StudentPlan) -> Iterator[Node]:
        for method in student.methods:
            rate: Path | None = None
            chosen: tuple[str, ...] = ()
            if self.plan.tuning is not None:
                yield from self._tuned(task, student, method)
                rate = self._rate_file(task, student, method)
                chosen = (rate.stem,)
            for seed, run in zip(student.seeds, names.trainings(task, student)[method], strict=True):
                yield self._training(run, "train", task, student, method, {"seed": seed}, rate, chosen)

    def _training(
        self,
        run: str,
        kind: str,
        task: TaskPlan,
        student: StudentPlan,
        method: str,
        own: Options,
        rate: Path | None = None,
        needs: tuple[str, ...] = (),
    ) -> Node:
        arm = self.plan.methods[method]
        model, made = self._student_model(task, student)
        teacher, taught = self._teacher_model(task, student.teacher)
        options = layered(self._options("train", task), student.train, arm.options, own)
        if rate is not None:
            options.pop("learning_rate", None)
            options.pop("lr", None)
        words = ["train", arm.method, *self._rows(task), "--teacher", teacher, "--student", model, *_words(options)]
        labels = {"task": task.name, "student": student.name, "method": method, "seed": options["seed"]}
        foretold = (names.ranking(task, student),) if self.plan.predict else ()
        before = tuple(dict.fromkeys((*made, *taught, *needs, *foretold)))
        return Node(run, kind, (*words, *self._named(run)), before, labels, rate)

    def _tuned(self, task: TaskPlan, student: StudentPlan, method: str) -> Iterator[Node]:
        tuning = self.plan.tuning
        assert tuning is not None
        runs = names.trials(task, student, method, self.plan.tuning)
        for rate, run in runs.items():
            own = {**normal(tuning.options), "learning_rate": rate, "seed": tuning.seed}
            yield self._training(run, "tune", task, student, method, own)
        place = self._rate_file(task, student, method)
        labels = {"task": task.name, "student": student.name, "method": method}
        trials = {rate: self.folder / run for rate, run in runs.items()}
        yield Node(
            place.stem, "rate", self._own(place.stem), tuple(runs.values()), labels, trials=trials, threads=False
        )

    def _rate_file(self, task: TaskPlan, student: StudentPlan, method: str) -> Path:
        return self.folder / "rates" / f"{names.rate(task, student, method)}.txt"

    # Measurements

    def _variances(self) -> Iterator[Node]:
        """Before any method trains, each student alone, so that one has its results while others are still made."""
        for task in self.plan.tasks.values():
            for student in self._students(task):
                model, made = self._student_model(task, student)
                place, taught = self._teacher_model(task, student.teacher)
                run = names.variance(task, student)
                options = _words(self._options("variance", task))
                words = ("variance", *self._rows(task), "--teacher", place, "--student", model, *options)
                labels = {"task": task.name, "teacher": student.teacher, "student": student.name, "model": model}
                needs = tuple(dict.fromkeys((*made, *taught)))
                yield Node(run, "variance", (*words, *self._named(run)), needs, labels)

    def _rankings(self) -> Iterator[Node]:
        """What the gradients of each student foretell, frozen before a method trains."""
        for task in self.plan.tasks.values():
            for student in self._students(task):
                name = names.ranking(task, student)
                measured = names.variance(task, student)
                shared = (self._options("train", task), student.train)
                arms = {
                    method: (self.plan.methods[method].method, layered(*shared, self.plan.methods[method].options))
                    for method in student.methods
                }
                tried = [
                    run
                    for method in student.methods
                    for run in names.trials(task, student, method, self.plan.tuning).values()
                ]
                trained = [run for runs in names.trainings(task, student).values() for run in runs]
                later = tuple(self.folder / run for run in (*tried, *trained))
                ranking = Ranking(self.folder / measured / "variance.json", arms, later)
                labels = {"task": task.name, "student": student.name}
                yield Node(name, "predict", self._own(name), (measured,), labels, threads=False, ranking=ranking)

    def _own(self, name: str) -> tuple[str, ...]:
        """The command for what a study does itself."""
        return ("study", str(self.plan.file), "--node", name, "--runs-dir", str(self.folder.parent))

    def _measured(self, task: TaskPlan, student: StudentPlan) -> Iterator[Node]:
        runs = names.trainings(task, student)
        if "evaluate" in self.plan.measures:
            yield from self._evaluated(task, student, runs)
        for command, contest in self.plan.contests.items():
            others = [name for name in contest.methods if name in runs]
            if task.name in contest.tasks and contest.reference in runs and others:
                make = self._compared if command == "compare" else self._judged
                yield from make(task, student, runs, contest.reference, others)

    def _evaluated(self, task: TaskPlan, student: StudentPlan, runs: Runs) -> Iterator[Node]:
        labels = {"task": task.name, "student": student.name}
        begun, needs = self._student_model(task, student)
        taught, more = self._teacher_model(task, student.teacher)
        options = _words(self._options("evaluate", task))
        models = [(begun, needs, {**labels, "method": "start"})]
        if student.start is not None:
            models.insert(0, (*self._beginning(task, student), {**labels, "method": "raw"}))
        models.append((taught, more, {"task": task.name, "teacher": student.teacher, "method": "teacher"}))
        for model, made, label in models:
            run = f"evaluate-{label['method']}-{label.get('student', student.teacher)}-{task.name}"
            words = ("evaluate", model, *self._rows(task), "--teacher", taught, *options, *self._named(run))
            before = tuple(dict.fromkeys((*made, *more)))
            yield Node(run, "evaluate", words, before, label)
        for method, seeds in runs.items():
            words = ("evaluate", *seeds, *options, "--runs-dir", str(self.folder))
            name = names.evaluation(task, student, method)
            yield Node(name, "evaluate", words, tuple(seeds), {**labels, "method": method})

    def _compared(
        self, task: TaskPlan, student: StudentPlan, runs: Runs, reference: str, others: Sequence[str]
    ) -> Iterator[Node]:
        options = _words(self._options("compare", task))
        for method in others:
            name = f"compare-{student.name}-{task.name}-{method}"
            many = ["--seeds"] if len(runs[method]) > 1 else []
            sides = ["--a", *runs[reference], "--b", *runs[method], *many]
            out = ["--out", str(self.folder / f"{name}.json"), "--runs-dir", str(self.folder)]
            needs = tuple(names.evaluation(task, student, one) for one in (reference, method))
            labels = {"task": task.name, "student": student.name, "method": method}
            yield Node(name, "compare", ("compare", *sides, *options, *out), needs, labels, threads=False)

    def _judged(
        self, task: TaskPlan, student: StudentPlan, runs: Runs, reference: str, others: Sequence[str]
    ) -> Iterator[Node]:
        """The first seed of each method against that of the reference."""
        name = f"judge-{student.name}-{task.name}"
        sides = ["--a", *(runs[method][0] for method in others), "--b", runs[reference][0]]
        needs = tuple(names.evaluation(task, student, method) for method in (reference, *others))
        options = {"html": True, **self._options("judge", task)}
        words = ("judge", *sides, *_words(options), *self._named(name))
        labels = {"task": task.name, "student": student.name}
        yield Node(name, "judge", words, needs, labels, threads=False)

    # Words

    def _options(self, command: str, task: TaskPlan) -> dict[str, Any]:
        return layered(self.plan.options[command], task.options[command])

    def _rows(self, task: TaskPlan) -> list[str]:
        return ["--task", task.task, *(["--data", task.data] if task.data else [])]

    def _named(self, run: str) -> list[str]:
        return ["--name", run, "--runs-dir", str(self.folder)]


def _words(options: Options) -> list[str]:
    """Options as on the command line: true is a flag, false and null are left out, a list is its values."""
    words: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words += [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]
    return words
