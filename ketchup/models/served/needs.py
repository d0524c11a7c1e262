"""What cannot be had of a teacher that gives two log-probabilities a token, refused before any work."""

from collections.abc import Collection

from ketchup.choices import Gauge
from ketchup.errors import UsageError
from ketchup.estimators import Baseline, Estimator
from ketchup.estimators.numbers import gauge_needs

KNOWN = frozenset({"q", "v", "logsumexp", "log_prob", "entropy", "collision"})
"""The numbers of an action that there are: the teacher's of the two that the server sends, and the student's own."""
GAUGE: Gauge = "logprob"
"""The only gauge: logits become log-probabilities on the way."""


def check_gauge(gauge: Gauge) -> None:
    """Raises `UsageError` for a gauge that no log-probabilities give."""
    if gauge != GAUGE:
        raise UsageError(
            f"--gauge {gauge} is of the teacher's logits, and a server gives log-probabilities; use --gauge {GAUGE}."
        )


def check_row(row: Estimator) -> None:
    """Raises `UsageError` for an estimator that needs more of the teacher."""
    _check(row.name, row.needs | gauge_needs(row.gauge or GAUGE), all_actions=row.all_actions)


def check_baseline(row: Baseline) -> None:
    """Raises `UsageError` for a baseline that needs more of the teacher."""
    _check(f"the baseline {row.name}", row.needs)


def _check(who: str, needs: Collection[str], *, all_actions: bool = False) -> None:
    if all_actions or not KNOWN.issuperset(needs):
        raise refusal(who)


def refusal(who: str) -> UsageError:
    """The error of what compares whole vocabularies."""
    return UsageError(
        f"{who[0].upper()}{who[1:]} needs the teacher's whole vocabulary in each state, and a server gives two numbers "
        "a token; use another one, or load the teacher here, without --teacher-url."
    )
