"""What a claim is, and how it is decided."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from ketchup_eval.stats.bootstrap import Estimate
from ketchup_eval.stats.multiplicity import holm
from ketchup_eval.study.collect import Content

LEVEL = 0.05
Verdict = Literal["supported", "contradicted", "undecided"]
RULE = (
    "A claim is decided place by place, a place being a student on a task or two students of one teacher: there its "
    f"statistic has a sign that the claim foretells, and a p-value, which counts at {LEVEL:.0%} after Holm over the "
    "places of the claim. It is contradicted where any place is decided against it, supported where every place is "
    "decided for it, and undecided at this size otherwise."
)


@dataclass(frozen=True)
class Evidence:
    """The statistic at one place: positive is for the claim, negative against it. `p` is two-sided.

    `sources` are the names of the results that it is computed from.
    """

    place: str
    what: str
    estimate: Estimate
    p: float | None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A claim of the paper; `statistic` says in words what `evidence` computes from a study's content."""

    name: str
    text: str
    source: str
    statistic: str
    evidence: Callable[[Content], Iterable[Evidence]]


@dataclass(frozen=True)
class Judged:
    """A claim and what a study says of it. `adjusted` are the p-values after Holm."""

    claim: Claim
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    adjusted: tuple[float | None, ...]


def judged(claim: Claim, evidence: tuple[Evidence, ...]) -> Judged:
    """A claim with its evidence, decided by `RULE`."""
    adjusted = tuple(holm([row.p for row in evidence]))
    signs = [
        0 if p is None or p > LEVEL or not row.estimate.value else math.copysign(1, row.estimate.value)
        for row, p in zip(evidence, adjusted, strict=True)
    ]
    verdict: Verdict = "undecided"
    if any(sign < 0 for sign in signs):
        verdict = "contradicted"
    elif signs and all(sign > 0 for sign in signs):
        verdict = "supported"
    return Judged(claim, verdict, evidence, adjusted)


def claims_json(judged: Sequence[Judged]) -> Content:
    """The content of `claims.json`."""
    return {
        "schema": 1,
        "level": LEVEL,
        "rule": RULE,
        "claims": [
            {
                **{key: getattr(one.claim, key) for key in ("name", "text", "source", "statistic")},
                "verdict": one.verdict,
                "evidence": [
                    {
                        "place": row.place,
                        "what": row.what,
                        **asdict(row.estimate),
                        "p": row.p,
                        "holm": adjusted,
                        "sources": list(row.sources),
                    }
                    for row, adjusted in zip(one.evidence, one.adjusted, strict=True)
                ],
            }
            for one in judged
        ],
    }
