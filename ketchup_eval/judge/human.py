"""Human preferences beside the judge's: how often they agree, and how much of that is chance."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ketchup.errors import DataError
from ketchup.user_files import json_rows
from ketchup_eval.judge.effects import item_votes, of_means
from ketchup_eval.judge.judge_settings import JudgeSettings
from ketchup_eval.stats.bootstrap import Array, Bootstrap, Estimate
from ketchup_eval.stats.proportions import shares

Preferred = Literal["a", "b", "tie"]
CATEGORIES: tuple[Preferred, ...] = get_args(Preferred)


@dataclass(frozen=True)
class HumanChoice:
    """A human's choice on an item; `criterion` and `system` are `None` where it holds for all of them."""

    item: str
    preferred: Preferred
    criterion: str | None
    system: str | None

    def about(self, criterion: str, system: str) -> bool:
        """Whether it is a choice on this comparison."""
        return self.criterion in (None, criterion) and self.system in (None, system)


@dataclass(frozen=True)
class Agreement:
    """Judge and human on the items that have both.

    `accuracy`: share of the judge's votes for what the human prefers, averaged over items without a human tie.
    `kappa`: Cohen's, of the human's choice and the majority of the judge's votes, each a, b or tie.
    """

    accuracy: Estimate
    kappa: Estimate


def read_preferences(
    path: Path, settings: JudgeSettings, ids: Collection[str], criteria: Sequence[str]
) -> list[HumanChoice]:
    """Rows `{"id": ..., "preferred": "a", "b" or "tie"}`, each with a "criterion" and an "a" (system) if need be.

    `ids` are those of the predictions, `criteria` all that the task's kind has, whether they are judged now or not.
    Raises `DataError` with file and line for a row that cannot be used, matches nothing or says what an earlier one
    said.
    """
    preferences: dict[tuple[str, str | None, str | None], HumanChoice] = {}
    for _, place, row in json_rows(path):
        item, preferred, criterion, system = (row.get(name) for name in ("id", "preferred", "criterion", "a"))
        if not isinstance(item, str) or preferred not in CATEGORIES:
            raise DataError(f'{place}: no preference; write {{"id": ..., "preferred": "a", "b" or "tie"}}.')
        if item not in ids:
            raise DataError(f'{place}: the predictions have no id "{item}"; mend it, or delete the line.')
        if criterion is not None and criterion not in criteria:
            known = ", ".join(criteria)
            raise DataError(f'{place}: "criterion" is {_short(criterion)}; write {known}, or leave it out for all.')
        if system is not None and system not in settings.a:
            raise DataError(f'{place}: "a" is {_short(system)}; name one of {", ".join(settings.a)}.')
        if system is None and len(settings.a) > 1:
            raise DataError(f'{place}: several systems are judged; say which one with "a".')
        if (item, criterion, system) in preferences:
            raise DataError(f'{place}: the id "{item}" has a preference already; keep one row for each.')
        preferences[item, criterion, system] = HumanChoice(item, preferred, criterion, system)
    return list(preferences.values())


def _short(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)[:40]


def agreement(
    preferences: Sequence[HumanChoice], items: Sequence[str], votes: Array, settings: JudgeSettings
) -> Agreement:
    """Agreement of the preferences with `votes[n, 4]` on `items`."""
    general_first = sorted(preferences, key=lambda row: (row.criterion is not None, row.system is not None))
    human = {row.item: row.preferred for row in general_first}  # what is said of one criterion wins over a row for all
    wins, parsed = item_votes(votes)
    own = {item: share for item, share in zip(items, (wins / parsed)[:, 0], strict=False) if not np.isnan(share)}
    both = [(human[item], share) for item, share in own.items() if item in human]
    if not both:
        return Agreement(Estimate(None, None, None, 0), Estimate(None, None, None, 0))
    bootstrap = Bootstrap(len(both), settings.sampling.seed, settings.resamples)
    agreeing = [{"a": share, "b": 1 - share, "tie": np.nan}[preferred] for preferred, share in both]
    (accuracy,) = shares(np.array(agreeing)[:, None], np.ones((len(both), 1)))
    table = np.zeros((len(both), 3, 3))
    for row, (preferred, share) in enumerate(both):
        majority = 0 if share > 0.5 else 1 if share < 0.5 else 2
        table[row, CATEGORIES.index(preferred), majority] = 1
    return Agreement(accuracy, of_means(table.reshape(-1, 9), _kappas, bootstrap, len(both)))


def _kappas(means: Array) -> Array:
    """κ = (p_o - p_e) / (1 - p_e) of each table of shares, [r, 9] to [r] (Cohen, 1960)."""
    tables = means.reshape(-1, 3, 3)
    observed = np.einsum("rii->r", tables)
    expected = np.einsum("ri,ri->r", tables.sum(axis=2), tables.sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)
