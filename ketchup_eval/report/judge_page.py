"""The audit page: one HTML file with the results and every single verdict, readable without network or server."""

from pathlib import Path
from typing import Any

from ketchup_eval.judge.protocol import VARIANTS
from ketchup_eval.judge.results import JudgeResult, Preference
from ketchup_eval.judge.verdicts import VerdictStore
from ketchup_eval.report.judge_table import judge_notes, system_name
from ketchup_eval.report.pages import Bar, share_bar, write_page
from ketchup_eval.stats.bootstrap import Estimate

PAGE = "judge.html"
LONG_GAP = 1.5
"""A pair is marked where one output has so many times the characters of the other."""


def write_judge_page(result: JudgeResult, store: VerdictStore, run: Path) -> Path:
    """Writes `judge.html`."""
    settings = result.plan.settings
    return write_page(
        "judge.html",
        run / PAGE,
        _content(result, store),
        title=f"{', '.join(map(system_name, settings.a))} against {system_name(settings.b)}",
        judge=settings.sampling.model,
        shares=[_bar(row, row.effects.vote_share, 0) for row in result.comparisons],
        positions=[_bar(row, row.effects.position, -1) for row in result.comparisons],
        ids=[_bar(row, row.effects.id, -1) for row in result.comparisons],
        notes=judge_notes(result).splitlines(),
    )


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


def _bar(row: Preference, estimate: Estimate, lowest: float) -> Bar:
    return share_bar(f"{row.criterion}, {system_name(row.a)}", estimate, lowest, 1)
