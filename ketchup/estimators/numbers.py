"""What is known of each action of a batch of rollouts, and all that an estimator may look at."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ketchup import maths
from ketchup.choices import Gauge
from ketchup.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

GAUGED = ("q", "v", "mean", "logsumexp", "own_value")
"""Those that a constant added to the teacher's logits of a state shifts."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """Numbers of the actions of R rollouts, [R, T] in nats, with the actions of each row moved to the left.

    `mask` is True at actions; what stands elsewhere is never looked at. The `samples` rollouts of an input are
    neighbours. Of the teacher: `q` logit of the action, `v` largest logit, `mean` and `logsumexp` of the state's
    logits. Of the distribution π that was sampled: `log_prob` of the action, `collision` Σ_a π(a)² and
    `own_value` Ē = Σ_a π(a) q(a), what the state is worth under the student's next action; of the student as it is,
    `entropy`. What was not computed is `None`.
    """

    mask: Tensor
    samples: int
    q: Tensor
    v: Tensor
    mean: Tensor | None = None
    logsumexp: Tensor | None = None
    log_prob: Tensor | None = None
    entropy: Tensor | None = None
    collision: Tensor | None = None
    own_value: Tensor | None = None

    @classmethod
    def of(cls, actions: Tensor, samples: int, **values: Tensor | None) -> Numbers:
        """From values [R, T] at the tokens of rollouts, of which `actions[R, T]` tells those that the student chose.

        What a calculator writes is no action: the action after it is *one* step ahead of the one before it.
        """
        known = {name: maths.masked.compact(x, actions)[0] for name in NUMBERS if (x := values.get(name)) is not None}
        return cls(maths.masked.compact(actions, actions)[1], samples, **known)

    def without(self, rows: Tensor) -> Numbers:
        """The same batch, in which `rows[R]` have no actions."""
        return replace(self, mask=self.mask & ~rows[:, None])

    def in_gauge(self, gauge: Gauge) -> Numbers:
        """With the constant of each state's logits chosen, see `ketchup.maths.gauges`; padding is shifted too."""
        if gauge == "raw":
            return self
        self.check(gauge_needs(gauge), f"the gauge {gauge}")
        constant = maths.gauges.gauge_constant(self.mean, self.logsumexp, gauge)
        shifted = {name: getattr(self, name) for name in GAUGED}
        return replace(self, **{name: x - constant for name, x in shifted.items() if x is not None})

    def check(self, needs: Collection[str], who: str) -> None:
        """Raises `DataError` unless all of `needs` are known to `who` wants them."""
        lacking = sorted(name for name in needs if getattr(self, name) is None)
        if lacking:
            raise DataError(
                f"These rollouts lack {' and '.join(lacking)}, which {who} needs; score them anew, or leave it out."
            )

    @cached_property
    def advantages(self) -> Tensor:
        """A_t = q_t - v_t ≤ 0 [R, T], 0 in padding."""
        return maths.returns.advantages(self.q, self.v, self.mask)

    @cached_property
    def remaining(self) -> Tensor:
        """The number of actions after each [R, T]; negative in padding."""
        return maths.returns.remaining_actions(self.mask)


NUMBERS = tuple(field.name for field in fields(Numbers) if field.name not in ("mask", "samples"))
"""The names of all numbers, in which estimators and baselines say what they need."""


def known(values: Tensor | None) -> Tensor:
    """Numbers that a row has said it needs, and that `Numbers.check` has found."""
    assert values is not None
    return values


def gauge_needs(gauge: Gauge) -> frozenset[str]:
    """The number that a gauge takes its constant from, if any."""
    return {"raw": frozenset[str](), "centered": frozenset({"mean"}), "logprob": frozenset({"logsumexp"})}[gauge]
