"""A study's results as `variance.json` and `variance.csv`."""

import csv
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ketchup.files import atomic_write_json, atomic_write_text
from ketchup.texts import csv_cell
from ketchup_eval.variance.frames import RETURN_COLUMNS, return_rows
from ketchup_eval.variance.result import StudentResult, VarianceResult

SCHEMA = 1


def variance_json(result: VarianceResult) -> dict[str, Any]:
    """The result as the content of `variance.json`; numbers are `{"value", "low", "high", "n"}`, absent ones null."""
    return {
        "schema": SCHEMA,
        "task": result.rollouts.task,
        "split": result.rollouts.split,
        "teacher": result.rollouts.teacher,
        "samples": result.rollouts.samples,
        "inputs": result.inputs,
        "max_new_tokens": result.rollouts.decoding.max_new_tokens,
        "temperature": result.rollouts.decoding.temperature,
        "top_k": result.rollouts.decoding.top_k,
        "gauge": result.analysis.gauge,
        "seed": result.rollouts.seed,
        "interval": {
            "level": 0.95,
            "method": result.analysis.intervals.method,
        },
        "correct_sampler": result.analysis.correct_sampler,
        "seconds": result.seconds,
        "students": [_student(student) for student in result.students],
    }


def as_csv(result: VarianceResult) -> str:
    """One line per student, estimator and quantity; `tail` and `k` are empty where the row is no K-step return."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(RETURN_COLUMNS)
    for row in return_rows(result):
        writer.writerow(map(csv_cell, row))
    return out.getvalue()


def write_files(result: VarianceResult, run: Path) -> None:
    """Writes `variance.json` and `variance.csv` into the run's folder."""
    atomic_write_json(run / "variance.json", variance_json(result))
    atomic_write_text(run / "variance.csv", as_csv(result))


def _student(student: StudentResult) -> dict[str, Any]:
    """K-step rows say their K and tail, the others only their signature."""
    estimates = [
        {name: value for name, value in asdict(row).items() if name not in ("k", "tail") or row.k is not None}
        for row in student.estimates
    ]
    return {**asdict(student), "estimates": estimates, "enough_inputs": student.enough_inputs}
