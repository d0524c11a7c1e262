"""Does measuring predict training? What measured gradients foretell of methods, and what these reached."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ketchup_eval.stats.rankings import mean_rank_correlation
from ketchup_eval.study.claims.arms import RETURN, arms, sign, task_scores
from ketchup_eval.study.claims.base import Evidence
from ketchup_eval.study.collect import Content, student_names
from ketchup_eval.study.ranking import cosines, row_of

FEWEST = 3
"""Methods whose order says anything."""


@dataclass(frozen=True)
class Foretold:
    """By method of a student on a task, the expected cosine of its gradient, with its interval.

    `frozen` says when that was written, before the first method trained; it is `None` where the plan has not asked for
    it, and the measurement stands in for it. `source` is the result that it comes from.
    """

    task: str
    student: str
    cosines: Mapping[str, Mapping[str, Any]]
    frozen: str | None
    source: str


def foretold(content: Content) -> list[Foretold]:
    """Of each student on each task, in the order of the plan."""
    found = {(one.task, one.student): one for one in (*_measured(content), *_frozen(content))}
    students: Sequence[str] = content["plan"]["students"]
    return sorted(found.values(), key=lambda one: (one.task, students.index(one.student)))


def _frozen(content: Content) -> Iterator[Foretold]:
    for one in content["rankings"]:
        ranking = {row["method"]: row["cosine"] for row in one["ranking"]}
        yield Foretold(one["task"], one["student"], ranking, one["frozen"], one["variance"])


def _measured(content: Content) -> Iterator[Foretold]:
    trained = dict(arms(content))
    for one in content["variance"]:
        names = student_names(one)
        for student in one["result"]["students"]:
            name, known = names[student["name"]], cosines(student.get("gradient"))
            rows = {
                row["method"]: row_of(row["algorithm"], row["options"])
                for row in trained.get(f"{one['task']}: {name}", ())
            }
            ranking = {method: known[row] for method, row in rows.items() if row is not None and row in known}
            if ranking:
                yield Foretold(one["task"], name, ranking, None, student["run"])


def measuring_predicts(content: Content) -> Iterator[Evidence]:
    """Ours, not the paper's: does the expected cosine of the gradients order what methods reach, over all students?

    Students whose methods were not all trained count with those that were; the methods are those that all have.
    """
    known = foretold(content)
    for task in dict.fromkeys(one.task for one in known):
        mine = [(one, _trained(content, one)) for one in known if one.task == task]
        mine = [(one, rows) for one, rows in mine if len(rows) >= FEWEST]
        for score in (RETURN, *task_scores([row for _, rows in mine for row in rows.values()])):
            yield from _agreement(task, score, mine)


def _trained(content: Content, one: Foretold) -> dict[str, Mapping[str, Any]]:
    rows = dict(arms(content)).get(f"{one.task}: {one.student}", ())
    return {row["method"]: row for row in rows if row["method"] in one.cosines}


def _agreement(
    task: str, score: str, mine: Sequence[tuple[Foretold, Mapping[str, Mapping[str, Any]]]]
) -> Iterator[Evidence]:
    scored = [(one, {name: row for name, row in rows.items() if row["by_seed"].get(score)}) for one, rows in mine]
    scored = [(one, rows) for one, rows in scored if len(rows) >= FEWEST]
    if not scored:
        return
    shared = [name for name in scored[0][1] if all(name in rows for _, rows in scored)]
    if len(shared) < FEWEST:
        return
    cosine = np.array([[float(one.cosines[name]["value"]) for name in shared] for one, _ in scored])
    reached = [
        [[sign(score) * value for value in rows[name]["by_seed"][score]] for name in shared] for _, rows in scored
    ]
    sources = [run for one, rows in scored for name in shared for run in (one.source, *rows[name]["runs"])]
    place = f"{task}: {', '.join(one.student for one, _ in scored)}"
    what = f"rank correlation of expected cosine and {score}, {len(shared)} methods, mean over students"
    yield Evidence(place, what, *mean_rank_correlation(cosine, reached, 0), tuple(dict.fromkeys(sources)))
