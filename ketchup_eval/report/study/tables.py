"""The tables of a study in the paper's shapes, before any of them is written.

Tables 1 and 8: a row a method, a column a task metric, the teacher and the student, raw and as it begins, on top; one
for each student. Table 2: a row a method, a column a criterion of the judge, in per cent over the reference.
Foretold: the methods by the gradients that were measured before training, and what they reached.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ketchup_eval.report.judge_table import system_name
from ketchup_eval.report.scores_table import number
from ketchup_eval.stats.bootstrap import Estimate
from ketchup_eval.study.claims.foretold import foretold
from ketchup_eval.study.claims.numbers import estimate
from ketchup_eval.study.collect import Content, higher_is_better
from ketchup_eval.study.ranking import BATCH

COSINE = "expected cosine"
"""What a column of foretold methods is called; it is no score of outputs."""


@dataclass(frozen=True)
class Column:
    """A score of a task, or a criterion of the judge on it."""

    task: str
    score: str
    higher_is_better: bool


@dataclass(frozen=True)
class Cell:
    """A number of the table. `seeds` runs stand behind it, none where nothing was trained; `sources` are names of
    results of the study that it comes from. `p` is that of no difference from the reference, after Holm."""

    estimate: Estimate
    seeds: int
    sources: tuple[str, ...]
    p: float | None = None
    best: bool = False
    by_seed: tuple[float, ...] = ()


@dataclass(frozen=True)
class StudyRow:
    """What is known of a method, the start or a teacher; where a number is not there, neither is its cell."""

    name: str
    trained: bool
    cells: Mapping[Column, Cell]


@dataclass(frozen=True)
class StudyTable:
    """Of one student. `kind` names the files; `title` says what it is; `about` what is in its numbers."""

    kind: str
    student: str
    title: str
    about: str
    columns: tuple[Column, ...]
    rows: tuple[StudyRow, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in the order of the columns."""
        return tuple(dict.fromkeys(column.task for column in self.columns))

    def of_task(self, task: str) -> "StudyTable":
        """The columns of one task, and the rows that have a number there."""
        columns = tuple(column for column in self.columns if column.task == task)
        rows = tuple(row for row in self.rows if any(column in row.cells for column in columns))
        return replace(self, title=f"{task}: {self.title}", columns=columns, rows=rows)


def study_tables(content: Content) -> list[StudyTable]:
    """All tables for which there is a number, from the content of `study.json`."""
    students = content["plan"]["students"]
    found = [make(content, student) for make in (_scores, _win_rates, _foretold) for student in students]
    return [_with_best(table) for table in found if table.rows]


def _scores(content: Content, student: str) -> StudyTable:
    teacher = content["plan"]["teacher_of"][student]
    compared = {
        (row["task"], row["method"], row["score"]): row["holm"]
        for row in content["comparisons"]
        if row["student"] == student
    }
    rows: dict[str, StudyRow] = {}
    columns: dict[Column, None] = {}
    begun = False
    for one in _in_order(content, student, teacher):
        name, trained = _row_name(one)
        cells = dict(rows[name].cells) if name in rows else {}
        for score, found in one["scores"].items():
            if found["value"] is None:
                continue
            column = Column(one["task"], score, higher_is_better(score))
            p = compared.get((one["task"], one["method"], score)) if trained else None
            by_seed = tuple(one.get("by_seed", {}).get(score, ()))
            sources = (*one["runs"], *(_scored_by(content, one) if trained else ()))
            cells[column] = Cell(estimate(found), len(by_seed), sources, p, by_seed=by_seed)
            columns[column] = None
        if cells:
            rows[name] = StudyRow(name, trained, cells)
            begun = begun or "student" in one
    if not begun:  # nothing is there but the teacher, which other students have too
        rows, columns = {}, {}
    about = (
        "Intervals are 95%, Student's t over seeds; where one run stands alone, over inputs. "
        f"{_against(content['plan']['reference'].get('compare'))}Bold or *: the best of the student's methods."
    )
    return StudyTable("table1", student, f"scores of student {student}", about, _by_task(content, columns), _of(rows))


def _scored_by(content: Content, one: Content) -> list[str]:
    """The commands that scored a method's runs and compared them."""
    mine = {key: one[key] for key in ("task", "student", "method")}
    return [
        row["name"] for row in content["commands"] if row["kind"] in ("evaluate", "compare") and row["labels"] == mine
    ]


def _in_order(content: Content, student: str, teacher: str) -> list[Content]:
    """The teacher, the start, and the methods as the plan has them."""
    mine = [row for row in content["methods"] if row.get("student") == student]
    above = [row for row in content["methods"] if row["method"] == "teacher" and row.get("teacher") == teacher]
    begun = [row for row in mine if "algorithm" not in row]
    return [*above, *begun, *(row for row in mine if "algorithm" in row)]


def _row_name(one: Content) -> tuple[str, bool]:
    if "algorithm" in one:
        return one["method"], True
    if "teacher" in one:
        return f"Teacher: {one['teacher']}", False
    return ("Student before distillation" if one["method"] == "raw" else "Student as it begins"), False


def _win_rates(content: Content, student: str) -> StudyTable:
    methods = {run["run"]: run["method"] for run in content["runs"]}
    rows: dict[str, StudyRow] = {}
    columns: dict[Column, None] = {}
    for judged in content["judge"]:
        if judged["student"] != student:
            continue
        for found in judged["result"]["comparisons"]:
            share = found["effects"]["vote_share"]
            if share["value"] is None:
                continue
            system = system_name(found["a"])
            name = methods.get(system, system)
            column = Column(judged["task"], found["criterion"], higher_is_better=True)
            columns[column] = None
            cell = Cell(estimate(share).scaled(100), 1, (judged["run"], system), found["p_holm"])
            rows[name] = StudyRow(name, True, {**(rows[name].cells if name in rows else {}), column: cell})
    reference = content["plan"]["reference"].get("judge")
    about = (
        "Share of the judge's votes, in per cent, four to an item; 95% intervals over items. p: of no preference, by "
        "sign flips of items, after Holm over all of one judge's comparisons. Bold or *: the highest."
    )
    title = f"win rate over {reference}, student {student}"
    return StudyTable("table2", student, title, about, _by_task(content, columns), _of(rows))


def _foretold(content: Content, student: str) -> StudyTable:
    """Methods from the one whose gradient points best; a row for each, if it has trained or not."""
    rows: dict[str, StudyRow] = {}
    columns: dict[Column, None] = {}
    mine = [one for one in foretold(content) if one.student == student]
    reached = {(row["task"], row["method"]): row for row in content["methods"] if row.get("student") == student}
    for one in mine:
        column = Column(one.task, COSINE, higher_is_better=True)
        columns[column] = None
        for method, cosine in sorted(one.cosines.items(), key=lambda item: -float(item[1]["value"])):
            trained = reached.get((one.task, method), {"scores": {}, "runs": ()})
            cells = {column: Cell(estimate(cosine), len(trained["runs"]), (one.source,))}
            for score, found in trained["scores"].items():
                if found["value"] is not None:
                    other = Column(one.task, score, higher_is_better(score))
                    columns[other] = None
                    by_seed = tuple(trained["by_seed"].get(score, ()))
                    cells[other] = Cell(estimate(found), len(by_seed), tuple(trained["runs"]), by_seed=by_seed)
            before = rows[method].cells if method in rows else {}
            rows[method] = StudyRow(method, True, {**before, **cells})
    when = ", ".join(dict.fromkeys(f"frozen {one.frozen}" if one.frozen else "not frozen" for one in mine))
    about = (
        f"Expected cosine of a batch of {BATCH} rollouts to the gradient of the return, measured before training "
        f"({when}); the scores are those of table 1. Rank correlations are among the claims. Bold or *: the best."
    )
    title = f"what gradients foretold of student {student}"
    return StudyTable("foretold", student, title, about, _by_task(content, columns), _of(rows))


def _with_best(table: StudyTable) -> StudyTable:
    """The best of the trained rows is marked in each column, and whatever is shown as the same number."""
    best: dict[Column, str] = {}
    for column in table.columns:
        values = [row.cells[column].estimate.value for row in table.rows if row.trained and column in row.cells]
        known = [value for value in values if value is not None and math.isfinite(value)]
        if known:
            best[column] = number(max(known) if column.higher_is_better else min(known))
    rows = [
        replace(
            row,
            cells={
                column: replace(cell, best=row.trained and number(cell.estimate.value) == best.get(column))
                for column, cell in row.cells.items()
            },
        )
        for row in table.rows
    ]
    return replace(table, rows=tuple(rows))


def _by_task(content: Content, columns: Iterable[Column]) -> tuple[Column, ...]:
    """Tasks as the plan has them; the return, which is no task metric, after the metrics."""
    tasks: Sequence[str] = content["plan"]["tasks"]
    return tuple(sorted(columns, key=lambda column: (tasks.index(column.task), column.score == "return")))


def _of(rows: Mapping[str, StudyRow]) -> tuple[StudyRow, ...]:
    return tuple(rows.values())


def _against(reference: str | None) -> str:
    if reference is None:
        return ""
    return f"p: of no difference from {reference}, after Holm over all methods and scores of the student on the task. "
