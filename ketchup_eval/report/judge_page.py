"""The audit page: one HTML file with the results and every single verdict, readable without network or server."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ketchup.files import atomic_write_text
from ketchup_eval.judge.protocol import VARIANTS
from ketchup_eval.judge.results import Comparison, JudgeResult
from ketchup_eval.judge.verdicts import VerdictStore
from ketchup_eval.report.judge_table import judge_notes, system_name
from ketchup_eval.stats.bootstrap import Estimate

PAGE = "judge.html"
LONG_GAP = 1.5
"""A pair is marked where one output has so many times the characters of the other."""


@dataclass(frozen=True)
class _Bar:
    """An estimate as a picture: places in per cent of the width, and the text beside it."""

    label: str
    text: str
    value: float | None
    low: float | None
    high: float | None


def write_judge_page(result: JudgeResult, store: VerdictStore, run: Path) -> Path:
    """Writes `judge.html`. Texts are only ever put into the page as text, so markup in them stays inert."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("ketchup_eval.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    settings = result.plan.settings
    page = environment.get_template("judge.html").render(
        title=f"{', '.join(map(system_name, settings.a))} against {system_name(settings.b)}",
        judge=settings.sampling.model,
        shares=[_bar(row, row.effects.vote_share, 0, 1) for row in result.comparisons],
        positions=[_bar(row, row.effects.position, -1, 1) for row in result.comparisons],
        ids=[_bar(row, row.effects.id, -1, 1) for row in result.comparisons],
        notes=judge_notes(result).splitlines(),
        data=_script_json(_content(result, store)),
    )
    path = run / PAGE
    atomic_write_text(path, page.encode("utf-8", "replace").decode())
    return path


def _content(result: JudgeResult, store: VerdictStore) -> dict[str, Any]:
    """What the page's script shows: texts once each, and a row per item, criterion and system."""
    plan = result.plan
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for call in plan.calls:
        question, pair = call.question, call.question.pair
        key = (question.criterion, pair.system, pair.item)
        row = rows.setdefault(
            key,
            {
                "criterion": question.criterion,
                "system": system_name(pair.system),
                "item": pair.item,
                "a": pair.a,
                "b": pair.b,
                "votes": [None] * 4,
                "replies": [""] * 4,
                "states": ["missing"] * 4,
            },
        )
        verdict = store.verdicts.get(call.key)
        if verdict is not None:
            row["votes"][question.variant] = question.vote(verdict.preferred)
            row["replies"][question.variant] = verdict.reply
            row["states"][question.variant] = verdict.state
    for row in rows.values():
        row["marks"] = _marks(row)
    return {
        "baseline": system_name(plan.settings.b),
        "variants": [
            {"shown": "a, b" if a_first else "b, a", "called": "A, B" if a_first == a_is_a else "B, A"}
            for a_first, a_is_a in VARIANTS
        ],
        "sources": {pair.item: pair.source for pair in plan.pairs},
        "rows": list(rows.values()),
    }


def _marks(row: dict[str, Any]) -> list[str]:
    """What there is to look at in an item; the page has a filter for each."""
    votes, marks = row["votes"], []
    if len({vote for vote in votes if vote is not None}) == 2:
        marks.append("inconsistent")
    if None in votes:
        marks.append("unparsed")
    else:
        by_place = [1 if a_first else -1 for a_first, _ in VARIANTS]
        by_id = [1 if a_is_a else -1 for _, a_is_a in VARIANTS]
        if any(votes == [sign * vote for vote in rule] for rule in (by_place, by_id) for sign in (1, -1)):
            marks.append("biased")
    short, long = sorted((len(row["a"]), len(row["b"])))
    if long > LONG_GAP * short:
        marks.append("length gap")
    return marks


def _bar(row: Comparison, estimate: Estimate, lowest: float, highest: float) -> _Bar:
    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - lowest) / (highest - lowest), 2)

    text = "-" if estimate.value is None else f"{100 * estimate.value:.1f}%"
    if estimate.low is not None and estimate.high is not None:
        text += f" [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    label = f"{row.criterion}, {system_name(row.a)}"
    return _Bar(label, text, place(estimate.value), place(estimate.low), place(estimate.high))


def _script_json(content: dict[str, Any]) -> str:
    """JSON that may stand inside a script element: no text in it can end the element or open a comment."""
    text = json.dumps(content, ensure_ascii=False)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
