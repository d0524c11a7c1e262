"""The figures of a study, before any of them is drawn: what stands where, and which results it comes from.

figure1     validation return over updates, by method, for each student on each task (the paper's Fig. 1)
figure2     variance and bias of the return by K, a line for each student (its Fig. 2)
figure3     LLMR and K-step returns by size of the student (its Fig. 3)
gradient    how well a batch's gradient points, and bias against noise, where gradients were measured
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from ketchup_eval.report.labels import SHOWN, row_label
from ketchup_eval.report.learning_curves import mean_over_runs
from ketchup_eval.report.lines import Line, Mark
from ketchup_eval.report.numbers import number
from ketchup_eval.study.claims.arms import arms, best_of, has_baseline, is_k_step, is_llmr
from ketchup_eval.study.claims.numbers import estimate
from ketchup_eval.study.collect import Content, distance, student_names

Scale = Literal["linear", "log", "doubling"]
QUANTITY = "return"
OVER_SEEDS = "Bands: 95%, Student's t over seeds, cut where they leave the picture; a single seed has none."
ROOM = 0.6
"""What a learning curve's picture has above and below all values, by their range: bands of two seeds take far more."""
OVER_INPUTS = "Bars: 95% over inputs."
BATCH = "256"
"""The batch by whose cosine rows of the gradient are ranked."""


@dataclass(frozen=True)
class Series:
    """A line and the names of the results behind it; `seed` where it is one seed's alone.

    Lines of one colour and dash are the same method or student in every panel of a figure; `square` marks rows with a
    baseline, `dull` those of which there are too many to tell apart.
    """

    line: Line
    sources: tuple[str, ...]
    colour: int
    dashed: bool = False
    seed: int | None = None
    square: bool = False
    dull: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes; `bars` shows intervals as bars, else they are bands. `ticks` are all that x has, if given.

    `limits` are the ends of y, where they are not those of all values and intervals.
    """

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    bars: bool = False
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    ticks: tuple[int, ...] = ()
    limits: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class StudyFigure:
    """Panels, so many in a row. `name` is that of its files."""

    name: str
    title: str
    about: str
    columns: int
    panels: tuple[Panel, ...]


def study_figures(content: Content) -> list[StudyFigure]:
    """All figures for which there is anything to draw, from the content of `study.json`."""
    found = [_figure_1(content), _figure_2(content), _figure_3(content), _gradient(content)]
    return [figure for figure in found if figure.panels]


def _figure_1(content: Content) -> StudyFigure:
    students = content["plan"]["students"]
    panels = []
    for task in content["plan"]["tasks"]:
        for student in students:
            series = [
                one
                for colour, method in enumerate(content["plan"]["methods"])
                for one in _curves(_runs(content, task, student, method), method, colour)
            ]
            if series:
                panels.append(_learning(f"{task}: {student}", series))
    about = f"Mean return (Eq. 10) of one rollout for each validation input. {OVER_SEEDS}"
    return StudyFigure("figure1", "Fig. 1: validation return by method", about, min(3, len(students)), tuple(panels))


def _figure_3(content: Content) -> StudyFigure:
    """LLMR without baseline and the K that validates best, for tasks with several students."""
    students = list(content["plan"]["students"])
    panels = []
    for task in content["plan"]["tasks"]:
        mine = []
        for place, methods in arms(content):
            student = str(methods[0]["student"])
            llmr = best_of(methods, lambda row: is_llmr(row) and not has_baseline(row))
            ours = best_of(methods, is_k_step)
            if place != f"{task}: {student}" or llmr is None or ours is None:
                continue
            pair = [(llmr, "LLMR", 0), (ours, "K-step", 1)]
            series = [
                one
                for row, kind, colour in pair
                for one in _curves(
                    _runs(content, task, student, row["method"]), f"{kind} ({row['method']})", colour, dashed=not colour
                )
            ]
            mine.append((students.index(student), _learning(f"{task}: {student}", series)))
        if len(mine) > 1:
            panels += [panel for _, panel in sorted(mine, key=lambda one: one[0])]
    about = f"LLMR, and the K that validates best, from the smallest student to the largest. {OVER_SEEDS}"
    title = "Fig. 3: LLMR and K-step returns by size of the student"
    return StudyFigure("figure3", title, about, max(1, len(students)), tuple(panels))


def _runs(content: Content, task: str, student: str, method: str) -> list[Content]:
    return [run for run in content["runs"] if (run["task"], run["student"], run["method"]) == (task, student, method)]


def _curves(runs: Sequence[Content], label: str, colour: int, *, dashed: bool = False) -> Iterator[Series]:
    """The mean over seeds at the steps that all have, then each seed."""
    by_seed = [(run["seed"], [run]) for run in runs]
    for seed, behind in [(None, runs), *by_seed] if len(runs) > 1 else by_seed:
        logged = [{row["step"]: row for row in run["curve"]} for run in behind]
        line = Line.of(label, mean_over_runs(logged, QUANTITY).items())
        if line.marks:
            yield Series(line, tuple(run["run"] for run in behind), colour, dashed, seed)


def _learning(title: str, series: Sequence[Series]) -> Panel:
    values = [mark.y.value for one in series for mark in one.line.marks if mark.y.value is not None]
    ends = [end for one in series for mark in one.line.marks for end in (mark.y.low, mark.y.high) if end is not None]
    room = ROOM * (max(values) - min(values))
    low, high = (limit(values) + side * room for limit, side in ((min, -1), (max, 1)))
    limits = (low if low > min([*ends, *values]) else None, high if high < max([*ends, *values]) else None)
    return Panel(title, "optimiser steps", "validation return (nats)", tuple(series), limits=limits)


def _figure_2(content: Content) -> StudyFigure:
    panels = []
    for one in content["variance"]:
        rows = [row for student in one["result"]["students"] for row in student["estimates"] if row.get("k")]
        ks = tuple(sorted({int(row["k"]) for row in rows}))
        falling = all((row["variance"]["value"] or 0) > 0 for row in rows)
        for letter, quantity, unit in (("a", "variance", "nats²"), ("b", "bias", "nats")):
            scale: Scale = "log" if quantity == "variance" and falling else "linear"
            panels.append(
                Panel(
                    f"{letter}) {one['task']}, teacher {one['teacher']}: {quantity}",
                    "K",
                    f"{quantity} of the K-step return ({unit})",
                    tuple(_by_k(one, quantity)),
                    bars=True,
                    x_scale="doubling",
                    y_scale=scale,
                    ticks=ks,
                    limits=(0.0 if scale == "linear" else None, None),
                )
            )
    about = f"Ĝ_0 of the whole output; a line for each student, named with its KL to the teacher. {OVER_INPUTS}"
    return StudyFigure("figure2", "Fig. 2: variance and bias by K", about, 2, tuple(p for p in panels if p.series))


def _by_k(one: Content, quantity: str) -> Iterator[Series]:
    names = student_names(one)
    for student in one["result"]["students"]:
        rows = [row for row in student["estimates"] if row.get("k")]
        tails = list(dict.fromkeys(row["tail"] for row in rows))
        kind = "KL" if student["kl"] else "KL(π‖p)"
        name = names[student["name"]]
        colour = list(names.values()).index(name)
        for tail in tails:
            said = f", {tail}" if len(tails) > 1 else ""
            label = f"{name} ({kind} {number(distance(student))}{said})"
            points = ((int(row["k"]), estimate(row[quantity])) for row in rows if row["tail"] == tail)
            yield Series(Line.of(label, points), (student["run"],), colour, dashed=tail != "segment")


def _gradient(content: Content) -> StudyFigure:
    panels: list[Panel] = []
    unknown = []
    ranked = _ranked([student.get("gradient") for one in content["variance"] for student in one["result"]["students"]])
    for one in content["variance"]:
        for student in one["result"]["students"]:
            if student.get("gradient"):
                name = student_names(one)[student["name"]]
                panels += _pointing(one, student, name, ranked)
                unknown += [] if student["gradient"]["recommendation"] else [f"{one['task']}: {name}"]
    said = f" The true gradient cannot be told from 0 for {', '.join(unknown)}." if unknown else ""
    about = (
        "Rows whose objective is E[G_0]; squares have a baseline. Left: the cosine of a batch's gradient to the true "
        "one, those that point best on average; right: both by the true gradient's length, and by LLMR's noise. "
        f"{OVER_INPUTS}{said}"
    )
    return StudyFigure("gradient", "What the gradient is, before training", about, 2, tuple(panels))


def _ranked(gradients: Sequence[Content | None]) -> list[str]:
    """Rows by their mean cosine over students, so that each has one colour in all panels; an unknown one counts -1."""
    found: dict[str, list[float]] = {}
    for gradient in gradients:
        for row in _of_the_return(gradient) if gradient else ():
            cosine = row["batch_cosine"].get(BATCH, {}).get("value")
            found.setdefault(_label(row), []).append(-1.0 if cosine is None else cosine)
    return sorted(found, key=lambda label: -fmean(found[label]))


def _label(row: Content) -> str:
    return row_label(row["estimator"], row["baseline"])


def _of_the_return(gradient: Content) -> list[Content]:
    return [row for row in gradient["rows"] if row["objective"] == "expected-return"]


def _pointing(one: Content, student: Content, name: str, ranked: Sequence[str]) -> Iterator[Panel]:
    gradient = student["gradient"]
    cosines, points = [], []
    for row in sorted(_of_the_return(gradient), key=lambda row: ranked.index(_label(row))):
        label, baseline = _label(row), row["baseline"] != "none"
        colour = ranked.index(label)
        line = Line.of(label, sorted((int(size), estimate(found)) for size, found in row["batch_cosine"].items()))
        if colour < SHOWN and line.marks:
            cosines.append(Series(line, (student["run"],), colour, dashed=baseline, square=baseline))
        noise, bias = estimate(row["noise_ratio"]), estimate(row["relative_bias"])
        if noise.value is not None and bias.value is not None:
            mark = Line(label, (Mark(noise.value, bias, noise),))
            points.append(Series(mark, (student["run"],), colour, square=baseline, dull=colour >= SHOWN))
    sizes = tuple(sorted({int(mark.x) for series in cosines for mark in series.line.marks}))
    place = f"{one['task']}: {name}"
    unknown = "" if gradient["recommendation"] else ", UNKNOWN: cannot be told from 0"
    if cosines:
        title, y = f"{place}{unknown}", "cosine to the gradient of E[G]"
        yield Panel(title, "rollouts in a batch", y, tuple(cosines), True, "doubling", ticks=sizes, limits=(0.0, 1.05))
    if points:
        x, y = "noise: trace of the covariance over LLMR's", "bias by the true gradient's length"
        yield Panel(f"{place}: bias against noise", x, y, tuple(points), True, "log")
