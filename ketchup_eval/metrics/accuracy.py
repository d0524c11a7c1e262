"""Accuracy of final answers to word problems, and the share of outputs that state none; one metric per profile."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from ketchup.errors import DataError
from ketchup.tasks.answers import TOLERANCE, Profile, extract_answer, is_correct
from ketchup_eval.metrics.base import Item, Metric, Scale, mean_of, nrefs
from ketchup_eval.stats.bootstrap import Array

DEFAULT: Profile = "dpo-st"
READING: dict[Profile, str] = {"flexible": "|signs:unicode"}
"""What a signature says beside the profile: numbers from before signs and currencies were read are other numbers."""


def accuracy(profile: Profile) -> Metric:
    """The metric whose answers are found by `profile`; the default profile's is simply called `accuracy`."""

    suffix = "" if profile == DEFAULT else f"-{profile}"
    return Metric(
        name=f"accuracy{suffix}",
        kinds=frozenset({"reasoning"}),
        statistics=partial(statistics, profile=profile),
        scales=(
            Scale(f"accuracy{suffix}", "share", mean_of(0, 100.0)),
            Scale(f"no-answer{suffix}", "share", mean_of(1, 100.0), higher_is_better=False),
        ),
        signature=lambda references: (
            f"{nrefs(references, 'any')}|profile:{profile}{READING.get(profile, '')}|tolerance:{TOLERANCE:g}"
            f"|ketchup:{_version()}"
        ),
        default_for=frozenset({"reasoning"} if profile == DEFAULT else ()),
    )


def statistics(items: Sequence[Item], *, profile: Profile) -> Array:
    """Whether the answer is right, which is that of any of the references, and whether there is none, [n, 2]."""
    rows = []
    for item in items:
        golds = [_gold(reference) for reference in item.references]
        answer = extract_answer(item.prediction, profile)
        rows.append((any(is_correct(answer, gold) for gold in golds), answer is None))
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def _gold(reference: str) -> float:
    gold = extract_answer(reference, DEFAULT)
    if gold is None:
        raise DataError(f'the reference "{reference[-60:]}" states no answer; end it with a line `#### 12`')
    return gold


def _version() -> str:
    import ketchup  # noqa: PLC0415

    return ketchup.__version__
