"""Numbers as the page of a study shows them: in short, in full where one points at them, with what is behind them."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ketchup_eval.report.numbers import number as three_digits
from ketchup_eval.report.scores_table import number as two_decimals
from ketchup_eval.report.study.tables import Cell, Column, StudyTable
from ketchup_eval.report.study.written import ARROWS, p_words, seeds_of
from ketchup_eval.stats.bootstrap import Estimate
from ketchup_eval.study.claims.base import Evidence, Judged


@dataclass(frozen=True)
class Number:
    """`text` and `rest` are what one sees, `lines` what one sees pointing at it, `sources` the results behind it."""

    text: str
    rest: str
    lines: str
    sources: str
    best: bool = False

    @classmethod
    def of(
        cls,
        label: str,
        found: Estimate,
        sources: Sequence[str],
        more: Sequence[str] = (),
        p: str = "",
        *,
        best: bool = False,
        number: Callable[[float | None], str] = two_decimals,
    ) -> "Number":
        """An estimate under its label; `more` are further lines about it, `number` is how its numbers look."""
        interval = ""
        lines = [label, f"value {_full(found.value)}"]
        if found.low is not None and found.high is not None:
            lines.append(f"95% interval {_full(found.low)} to {_full(found.high)}")
            interval = f"[{number(found.low)}, {number(found.high)}]"
        lines += [f"n = {found.n}", *more, *([p] if p else [])]
        rest = " ".join(part for part in (interval, p) if part)
        return cls(number(found.value), rest, "\n".join(lines), json.dumps(sources), best)


@dataclass(frozen=True)
class EvidenceView:
    """A claim's statistic at one place."""

    place: str
    what: str
    number: Number


@dataclass(frozen=True)
class ClaimView:
    """A claim with its verdict; `deciding` is the place that the verdict hangs on."""

    text: str
    source: str
    statistic: str
    verdict: str
    deciding: EvidenceView | None
    evidence: tuple[EvidenceView, ...]


def claim_view(one: Judged) -> ClaimView:
    """A claim as the page shows it."""
    rows = [(row, adjusted, _evidence(row, adjusted)) for row, adjusted in zip(one.evidence, one.adjusted, strict=True)]
    views = tuple(view for _, _, view in rows)
    against = one.verdict == "contradicted"
    # contradicted by the surest place against it; else it stands or falls with the place that is least sure
    rows = [row for row in rows if not against or (row[0].estimate.value or 0) < 0]
    rows.sort(key=lambda row: math.inf if row[1] is None else row[1])
    deciding = rows[0 if against else -1][2] if rows else None
    claim = one.claim
    return ClaimView(claim.text, claim.source, claim.statistic, one.verdict, deciding, views)


def _evidence(row: Evidence, adjusted: float | None) -> EvidenceView:
    more = [] if row.p is None else [f"{p_words(row.p)} before Holm"]
    p = "" if adjusted is None else f"{p_words(adjusted)} after Holm"
    found = Number.of(f"{row.place}: {row.what}", row.estimate, row.sources, more, p, number=three_digits)
    return EvidenceView(row.place, row.what, found)


def row_views(table: StudyTable) -> Iterator[tuple[str, str, list[Number | None]]]:
    """Each row's name, its seeds, and its numbers by column, `None` where there is none yet."""
    for row in table.rows:
        numbers = [
            _cell(f"{row.name}: {column.task} {column.score}", cell) if (cell := row.cells.get(column)) else None
            for column in table.columns
        ]
        yield row.name, seeds_of(row), numbers


def heading(column: Column) -> str:
    """A column's score, and which way it is better."""
    return f"{column.score} {ARROWS[column.higher_is_better]}"


def _cell(label: str, cell: Cell) -> Number:
    more = [f"by seed: {', '.join(map(_full, cell.by_seed))}"] if len(cell.by_seed) > 1 else []
    over = f"{len(cell.by_seed)} seeds" if len(cell.by_seed) > 1 else "n counts inputs"
    return Number.of(label, cell.estimate, cell.sources, [over, *more], p_words(cell.p), best=cell.best)


def _full(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
