"""Claims about what is measured before anything trains: variance and bias of the return, Fig. 2."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from ketchup_eval.study.claims.base import Evidence
from ketchup_eval.study.claims.numbers import about, apart, estimate, negated
from ketchup_eval.study.collect import Content, distance, student_names


def variance_falls(content: Content) -> Iterator[Evidence]:
    """Variance at K against K = 1, paired over inputs, for each K of each student."""
    for place, run, rows in _students(content):
        for row in rows:
            if row["k"] > 1:
                ratio = estimate(row["variance_ratio"])
                yield about(place, f"1 - variance ratio, K = {row['k']}", negated(ratio, 1.0), (run,))


def bias_grows(content: Content) -> Iterator[Evidence]:
    """Bias at each K against the K before it."""
    for place, run, rows in _students(content):
        for before, row in pairwise(rows):
            difference = apart(estimate(before["bias"]), estimate(row["bias"]))
            yield about(place, f"bias at K = {row['k']} minus that at K = {before['k']}", difference, (run,))


def nearer_is_better(content: Content) -> Iterator[Evidence]:
    """Neighbours in KL: variance at the smallest K, bias at the largest."""
    for one in content["variance"]:
        names = student_names(one)
        students = [
            (distance(student), names[student["name"]], {row["k"]: row for row in _paper_rows(student)}, student["run"])
            for student in one["result"]["students"]
        ]
        for near, far in pairwise(sorted(student for student in students if student[0] is not None)):
            shared = sorted(near[2].keys() & far[2].keys())
            for quantity, k in (("variance", shared[:1]), ("bias", shared[-1:])):
                for at in k:
                    low, high = (estimate(side[2][at][quantity]) for side in (near, far))
                    place = f"{one['task']}: {near[1]} and {far[1]}"
                    what = f"{quantity} at K = {at} of the farther minus the nearer"
                    yield about(place, what, apart(low, high), (near[3], far[3]))


def _students(content: Content) -> Iterator[tuple[str, str, list[Mapping[str, Any]]]]:
    """Each student of each variance study: its place, the run, and the rows of the paper's Fig. 2, by K."""
    for one in content["variance"]:
        names = student_names(one)
        for student in one["result"]["students"]:
            yield f"{one['task']}: {names[student['name']]}", student["run"], _paper_rows(student)


def _paper_rows(student: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = [row for row in student["estimates"] if row.get("tail") == "segment" and row.get("k")]
    return sorted(rows, key=lambda row: int(row["k"]))
