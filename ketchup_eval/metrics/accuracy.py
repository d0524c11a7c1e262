"""Accuracy of final answers to word problems, and the share of outputs that state none; one metric per profile."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from ketchup.errors import DataError
from ketchup.tasks.answers import TOLERANCE, Profile, extract_answer, is_correct
from ketchup_eval.metrics.base import Metric, Scale, mean_of
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
        signature=lambda: (
            f"nrefs:1|profile:{profile}{READING.get(profile, '')}|tolerance:{TOLERANCE:g}|ketchup:{_version()}"
        ),
        default_for=frozenset({"reasoning"} if profile == DEFAULT else ()),
    )


def statistics(texts: Sequence[str], references: Sequence[str], *, profile: Profile) -> Array:
    """Whether the answer is right, and whether there is none, [n, 2]."""
    rows = []
    for text, reference in zip(texts, references, strict=True):
        gold = extract_answer(reference, DEFAULT)
        if gold is None:
            raise DataError(f'the reference "{reference[-60:]}" states no answer; end it with a line `#### 12`')
        answer = extract_answer(text, profile)
        rows.append((is_correct(answer, gold), answer is None))
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def _version() -> str:
    import ketchup  # noqa: PLC0415

    return ketchup.__version__
