"""From verdicts to results: votes of each system and criterion, their effects, and differences between systems."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from ketchup_eval.judge.effects import Effects, effects, item_votes, of_contrasts
from ketchup_eval.judge.human import Agreement, agreement
from ketchup_eval.judge.plan import Call, Plan
from ketchup_eval.judge.protocol import VARIANTS
from ketchup_eval.judge.signature import signature
from ketchup_eval.judge.verdicts import Verdict, VerdictStore
from ketchup_eval.stats.bootstrap import Array, Bootstrap, Estimate
from ketchup_eval.stats.multiplicity import holm
from ketchup_eval.stats.permutation import sign_flip_p_values
from ketchup_eval.stats.proportions import shares

MOST_MISSING = 0.01
"""Share of votes that may be missing in a result that counts as complete."""


@dataclass(frozen=True)
class Counts:
    """Of one comparison: `items` judged, pairs skipped as `identical`, and its `votes` by what became of them.

    `missing` have no reply yet; `unparsed`, `cut` and `empty` are replies without a choice, `too_long` and `refused`
    prompts that the server did not take.
    """

    items: int
    identical: int
    votes: int
    parsed: int
    unparsed: int
    cut: int
    empty: int
    too_long: int
    refused: int
    missing: int


@dataclass(frozen=True)
class Preference:
    """System `a` against `b` by one criterion; `p_holm` is adjusted over all comparisons of the result."""

    a: str
    b: str
    criterion: str
    signature: str
    counts: Counts
    effects: Effects
    p_holm: float | None
    human: Agreement | None


@dataclass(frozen=True)
class Difference:
    """How much larger the vote share of `a` is than that of `other`, paired over the items that both have votes on.

    `p_holm` is adjusted over all differences of the result.
    """

    a: str
    other: str
    criterion: str
    difference: Estimate
    p_value: float | None
    p_holm: float | None


@dataclass(frozen=True)
class Refusal:
    """An item whose prompts the server did not take: how many, and the state and words of the first."""

    item: str
    votes: int
    state: str
    words: str


@dataclass(frozen=True)
class JudgeResult:
    """All comparisons by one judge. `repeat_flips`: share of repeated questions whose two choices differ."""

    plan: Plan
    comparisons: list[Preference]
    differences: list[Difference]
    repeat_flips: Estimate
    server_models: dict[str, int]
    refusals: list[Refusal]

    @property
    def missing_share(self) -> float:
        """Share of all votes that have no parsed choice, for whatever reason."""
        votes = sum(row.counts.votes for row in self.comparisons)
        return 1 - sum(row.counts.parsed for row in self.comparisons) / votes if votes else 0.0

    @property
    def complete(self) -> bool:
        """Whether no more votes are missing than a result may lack."""
        return self.missing_share <= MOST_MISSING


@dataclass(frozen=True)
class _Votes:
    items: list[str]
    votes: Array
    soft: Array
    lengths: Array


def judge_result(plan: Plan, store: VerdictStore) -> JudgeResult:
    """All numbers from what is stored, without a server."""
    preferences = plan.preferences
    comparisons, all_votes = [], {}
    grouped: dict[tuple[str, str], list[Call]] = {}
    for call in plan.calls:
        grouped.setdefault((call.question.criterion, call.question.pair.system), []).append(call)
    for criterion in plan.settings.criteria:
        for system in plan.settings.a:
            calls = grouped.get((criterion, system), [])
            votes = _votes(calls, store)
            all_votes[criterion, system] = votes
            bootstrap = Bootstrap(max(1, len(votes.items)), plan.settings.sampling.seed, plan.settings.resamples)
            human = [row for row in preferences if row.about(criterion, system)]
            comparison = Preference(
                a=system,
                b=plan.settings.b,
                criterion=criterion,
                signature=signature(plan, criterion, len(votes.items), _stored(calls, store)),
                counts=_counts(plan, system, calls, len(votes.items), store),
                effects=effects(votes.votes, votes.lengths, votes.soft, bootstrap),
                p_holm=None,
                human=agreement(human, votes.items, votes.votes, plan.settings) if preferences else None,
            )
            comparisons.append(comparison)
    adjusted = holm([row.effects.p_value for row in comparisons])
    comparisons = [replace(row, p_holm=p) for row, p in zip(comparisons, adjusted, strict=True)]
    called = {call.key: call for call in (*plan.calls, *plan.repeats)}.values()
    replies = [verdict for verdict in _stored(called, store) if not verdict.is_refusal]
    return JudgeResult(
        plan,
        comparisons,
        _differences(plan, all_votes),
        _repeat_flips(plan, store),
        dict(Counter(str(verdict.server_model) for verdict in replies)),
        _refusals(plan.calls, store),
    )


def _stored(calls: Iterable[Call], store: VerdictStore) -> list[Verdict]:
    return [store.verdicts[call.key] for call in calls if call.key in store.verdicts]


def _refusals(calls: Sequence[Call], store: VerdictStore) -> list[Refusal]:
    """In the order of the items."""
    found: dict[str, list[Verdict]] = {}
    for call in calls:
        verdict = store.verdicts.get(call.key)
        if verdict and verdict.is_refusal:
            found.setdefault(call.question.pair.item, []).append(verdict)
    return [Refusal(item, len(rows), rows[0].state, rows[0].reply) for item, rows in found.items()]


def _votes(calls: Sequence[Call], store: VerdictStore) -> _Votes:
    rows = {item: row for row, item in enumerate(dict.fromkeys(call.question.pair.item for call in calls))}
    shape = (max(1, len(rows)), len(VARIANTS))
    votes, soft, lengths = np.full(shape, np.nan), np.full(shape, np.nan), np.full((shape[0], 2), np.nan)
    for call in calls:
        question = call.question
        row = rows[question.pair.item]
        lengths[row] = len(question.pair.a.strip()), len(question.pair.b.strip())
        verdict = store.verdicts.get(call.key)
        vote = question.vote(verdict.preferred) if verdict else None
        votes[row, question.variant] = np.nan if vote is None else vote
        if verdict and verdict.probability_of_a is not None:
            of_a = verdict.probability_of_a
            soft[row, question.variant] = of_a if VARIANTS[question.variant][1] else 1 - of_a
    return _Votes(list(rows), votes, soft, lengths)


def _counts(plan: Plan, system: str, calls: Sequence[Call], items: int, store: VerdictStore) -> Counts:
    states = Counter(store.verdicts[call.key].state if call.key in store.verdicts else "missing" for call in calls)
    return Counts(
        items=items,
        identical=sum(pair.identical for pair in plan.pairs if pair.system == system),
        votes=len(calls),
        **{state: states[state] for state in ("parsed", "unparsed", "cut", "empty", "too_long", "refused", "missing")},
    )


def _differences(plan: Plan, votes: dict[tuple[str, str], _Votes]) -> list[Difference]:
    found = []
    for criterion in plan.settings.criteria:
        for a, other in combinations(plan.settings.a, 2):
            shares = [_shares(votes[criterion, name]) for name in (a, other)]
            items = [item for item in shares[0] if item in shares[1]]
            pairs = np.array([[shares[0][item], shares[1][item]] for item in items]).reshape(-1, 2)
            gaps = pairs[:, :1] - pairs[:, 1:]
            (estimate,) = of_contrasts(gaps)
            (p_value,) = sign_flip_p_values(gaps, plan.settings.sampling.seed)
            found.append(Difference(a, other, criterion, estimate, p_value, None))
    adjusted = holm([row.p_value for row in found])
    return [replace(row, p_holm=p) for row, p in zip(found, adjusted, strict=True)]


def _shares(votes: _Votes) -> dict[str, float]:
    """The vote share of each item that has a vote."""
    wins, parsed = item_votes(votes.votes)
    shares = (wins / parsed)[:, 0]
    return {item: float(share) for item, share in zip(votes.items, shares, strict=False) if not np.isnan(share)}


def _repeat_flips(plan: Plan, store: VerdictStore) -> Estimate:
    """Of the questions asked twice, over items: the share whose choices differ."""
    flips: dict[str, list[float]] = {}
    for again in plan.repeats:
        first_key = again.question.query.key(plan.settings.sampling)
        verdicts = [store.verdicts.get(key) for key in (first_key, again.key)]
        choices = [verdict.preferred for verdict in verdicts if verdict and verdict.preferred]
        if len(choices) == 2:
            flips.setdefault(again.question.pair.item, []).append(float(choices[0] != choices[1]))
    sums = np.array([[sum(values), len(values)] for values in flips.values()], float).reshape(-1, 2)
    (share,) = shares(sums[:, :1], sums[:, 1:])
    return share
