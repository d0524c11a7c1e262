"""The page of a study: one HTML file with all that it has found so far, and every number's way back to its commands."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ketchup.errors import KetchupError, RunError
from ketchup.manifests import read_manifest
from ketchup.runs import Run
from ketchup_eval.report.judge_page import PAGE as AUDIT_PAGE
from ketchup_eval.report.judge_table import system_name
from ketchup_eval.report.pages import Bar, share_bar, write_page
from ketchup_eval.report.study.figures import Series, StudyFigure, study_figures
from ketchup_eval.report.study.files import REPORT
from ketchup_eval.report.study.numbers import Number, claim_view, heading, row_views
from ketchup_eval.report.study.tables import StudyTable, study_tables
from ketchup_eval.study.claims.base import RULE, Judged
from ketchup_eval.study.claims.numbers import estimate
from ketchup_eval.study.collect import Content
from ketchup_eval.study.running import reason

PAGE = "study.html"
MOST_NAMED = 8
"""Of commands that are still missing; of the others only how many there are is said."""
EFFECTS = (
    ("Win rate", "vote_share", 0, "0% to 100%; the line is at 50%"),
    ("Position effect", "position", -1, "what is shown second, to what is shown first; the line is at none"),
    ("ID effect", "id", -1, "what is called B, to what is called A; the line is at none"),
)


@dataclass(frozen=True)
class Section:
    """A part of the page. `missing` are commands that it still waits for; `files` what else is written of it."""

    id: str
    title: str
    missing: tuple[str, ...]
    figures: tuple[StudyFigure, ...] = ()
    tables: tuple[StudyTable, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def there(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.figures or self.tables)


@dataclass(frozen=True)
class JudgeView:
    """The effects of one judge on one student: bars under each heading, and the audit page where there is one."""

    title: str
    audit: str | None
    effects: tuple[tuple[str, str, tuple[tuple[Bar, Number], ...]], ...]


def write_study_page(folder: Path, content: Content, claims: Sequence[Judged]) -> Path:
    """Writes `study.html` into the folder of a study, of which nothing may be there yet."""
    figures, tables, manifests = study_figures(content), study_tables(content), _manifests(content, folder)
    return write_page(
        "study.html",
        folder / PAGE,
        {"study": content, "figures": [_drawn(figure) for figure in figures], "manifests": manifests},
        name=content["name"],
        facts=_facts(content, manifests),
        states=_states(content),
        failed=[(row["name"], _reason(folder, row["name"])) for row in content["commands"] if row["state"] == "failed"],
        rule=RULE,
        claims=[claim_view(one) for one in claims],
        sections=_sections(content, figures, tables, folder),
        row_views=row_views,
        heading=heading,
        judges=[_judge(one, content, folder) for one in content["judge"]],
        commands=content["commands"],
        most_named=MOST_NAMED,
    )


def _reason(folder: Path, name: str) -> str:
    with suppress(KetchupError):
        return reason(folder, name)
    return "its log is not there"


def _facts(content: Content, manifests: Content) -> list[tuple[str, str]]:
    """What was run: the plan, the commits, the hours."""
    plan, known = content["plan"], content["circumstances"] or {}
    repositories = [one["git"] for one in (*manifests.values(), known) if one.get("git")]
    commits = dict.fromkeys(f"{git['commit']}{' with changes' if git.get('dirty') else ''}" for git in repositories)
    seconds = sum(row["seconds"] or 0.0 for row in content["commands"])
    starts = sorted(row["started"] for row in content["commands"] if row["started"])
    students = [f"{name} (of {plan['teacher_of'][name]})" for name in plan["students"]]
    references = ", ".join(f"{name} in {command}" for command, name in plan["reference"].items())
    facts = [
        ("Plan", f"{plan['file']}, digest {plan['digest']}"),
        ("Commit" if len(commits) < 2 else "Commits", ", ".join(commits) or "not known"),
        ("Time", f"{seconds / 3600:.2f} hours of commands{f', begun {starts[0]}' if starts else ''}"),
        ("Tasks", ", ".join(plan["tasks"])),
        ("Students", ", ".join(students)),
        ("Methods", ", ".join(plan["methods"])),
        ("Seeds", ", ".join(map(str, plan["seeds"]))),
        ("Reference", references),
        ("Versions", ", ".join(f"{name} {version}" for name, version in (known.get("versions") or {}).items())),
        ("Machine", f"{known['platform']}, Python {known['python']}" if known else ""),
        ("Page written", datetime.now(UTC).isoformat(timespec="seconds")),
    ]
    return [(name, text) for name, text in facts if text]


def _states(content: Content) -> str:
    states = [row["state"] for row in content["commands"]]
    others = ", ".join(f"{states.count(state)} {state}" for state in ("started", "failed", "to do") if state in states)
    return f"{states.count('done')} of {len(states)} commands done{f'; {others}' if others else ''}"


def _sections(
    content: Content, figures: Sequence[StudyFigure], tables: Sequence[StudyTable], folder: Path
) -> list[Section]:
    """In the order of the page; those that the plan has no command for are none of it."""
    drawn = {figure.name: figure for figure in figures}
    wanted: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
        ("table1", "Task metrics", ("train", "evaluate", "compare"), ("table1",)),
        ("curves", "Learning curves", ("train",), ("figure1", "figure3")),
        ("bias-variance", "Bias and variance", ("variance",), ("figure2",)),
        ("gradient", "Gradients", ("variance",), ("gradient",)),
        ("foretold", "Does measuring predict training?", ("predict",), ("foretold",)),
        ("judge", "Judge", ("judge",), ("table2",)),
    )
    found = []
    for name, title, kinds, parts in wanted:
        mine = [row for row in content["commands"] if row["kind"] in kinds]
        missing = tuple(row["name"] for row in mine if row["state"] != "done")
        files = [f"{REPORT}/{part}{ending}" for part in parts for ending in (".pdf", ".png", ".csv", ".md", ".tex")]
        section = Section(
            name,
            title,
            missing,
            tuple(drawn[part] for part in parts if part in drawn),
            tuple(table for table in tables if table.kind in parts),
            tuple(file for file in files if (folder / file).exists()),
        )
        asked = name != "gradient" or any("--gradient" in row["command"].split() for row in mine)
        if section.there or (mine and asked):
            found.append(section)
    return found


def _judge(one: Content, content: Content, folder: Path) -> JudgeView:
    result = one["result"]
    methods = {run["run"]: run["method"] for run in content["runs"]}
    audit = f"{quote(one['run'])}/{AUDIT_PAGE}" if (folder / one["run"] / AUDIT_PAGE).exists() else None
    effects = []
    for title, effect, lowest, middle in EFFECTS:
        bars = []
        for row in result["comparisons"]:
            system, found = system_name(row["a"]), estimate(row["effects"][effect])
            label = f"{row['criterion']}, {methods.get(system, system)}"
            number = Number.of(f"{title}: {label}", found.scaled(100), (one["run"], system))
            bars.append((share_bar(label, found, lowest, 1), number))
        effects.append((title, middle, tuple(bars)))
    judge = (result.get("judge") or {}).get("model", "")
    return JudgeView(f"{one['task']}: {one['student']}, judged by {judge}", audit, tuple(effects))


def _manifests(content: Content, folder: Path) -> dict[str, Any]:
    """By name, the manifests of the commands that have one."""
    found: dict[str, Any] = {}
    for row in content["commands"]:
        if Run(folder / row["name"]).has_manifest():
            with suppress(RunError):  # a damaged one is told of when its run goes on
                found[row["name"]] = read_manifest(folder / row["name"])
    return found


def _drawn(figure: StudyFigure) -> Content:
    """A figure as the page's script reads it."""
    panels = [{**vars(panel), "series": [_series(one) for one in panel.series]} for panel in figure.panels]
    return {"name": figure.name, "columns": figure.columns, "panels": panels}


def _series(one: Series) -> Content:
    """Marks are [x, value, low, high, n], and of those with an estimate of x its two ends."""
    marks = [
        [mark.x, mark.y.value, mark.y.low, mark.y.high, mark.y.n]
        + ([mark.across.low, mark.across.high] if mark.across else [])
        for mark in one.line.marks
    ]
    known: Mapping[str, Any] = vars(one)
    return {**{key: value for key, value in known.items() if key != "line"}, "label": one.line.label, "marks": marks}
