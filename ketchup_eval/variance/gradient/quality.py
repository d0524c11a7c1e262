"""How good an estimate of its objective's gradient each row is, with intervals over inputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.intervals import LEVEL
from ketchup_eval.stats.products import Mean, Part, Product, batch_cosine, cosine, estimate, noise, signal_to_noise
from ketchup_eval.variance.gradient.rows import LLMR, NONE, REVERSE_KL, GradientRow, GradientRows

BATCHES = (1, 8, 256, 2048)
"""Rollouts in a batch, for which it is said how well its gradient points."""


@dataclass(frozen=True)
class RowQuality:
    """One row. g is the gradient of one rollout of a random input, G that of the row's own objective.

    Scaling all weights changes `squared_norm`, `noise` and `noise_ratio`; nothing else.
    """

    estimator: str
    """The row's signature."""
    baseline: str
    objective: str
    unbiased: bool
    squared_norm: Estimate
    """‖E g‖²."""
    relative_bias: Estimate
    """‖E g - G‖ / ‖G‖, below 0 where chance makes the estimate of the square negative; around 0 for unbiased rows."""
    noise: Estimate
    """The trace of the covariance of g."""
    noise_ratio: Estimate
    """The same over that of LLMR without baseline, paired."""
    signal_to_noise: Estimate
    """‖E g‖² over the trace."""
    noise_scale: Estimate
    """The trace over ‖E g‖²: rollouts in a batch whose noise is as long as the signal (arXiv 1812.06162)."""
    cosine: Estimate
    """Of the angle between E g and G; an estimate, so it may exceed 1."""
    cosine_to_return: Estimate
    """Between E g and the gradient of E[G_0]."""
    cosine_to_kl: Estimate
    """Between E g and the gradient of -KL(π‖p) of whole outputs."""
    batch_cosine: Mapping[int, Estimate]
    """For each size of a batch, how well its gradient points along G (see `ketchup_eval.stats.products`)."""
    scaled_error: Mapping[int, Estimate]
    """1 - its square: the mean squared error, by ‖G‖², of the batch's gradient scaled as well as may be."""
    worth: Estimate
    """Rollouts of LLMR with its best baseline that point as well as one of this row, in a batch of `--batch`."""


@dataclass(frozen=True)
class Recommendation:
    """The row that points best along the gradient of E[G_0] in a batch, those not told apart from it, and why."""

    batch: int
    best: str
    baseline: str
    undecided: tuple[str, ...]
    sentence: str


Name = str | tuple[str, str]
"""A row of weights by its signature, or the difference between the gradients of two."""


class Measured:
    """Mean gradients `means[name][I, D]` and mean squared norms `squares[name][I]` of inputs, for `rows.measured`."""

    def __init__(
        self, rows: GradientRows, means: Mapping[str, NDArray[np.floating]], squares: Mapping[str, Array]
    ) -> None:
        self.rows = rows
        self.means, self.squares = means, squares
        self.n = len(next(iter(means.values())))
        self._known: dict[tuple[Name, Name], Product] = {}

    def name(self, row: GradientRow) -> str:
        """The signature of a row."""
        return row.signature(self.rows.gauge)

    def product(self, one: Name, other: Name) -> Product:
        """⟨E x, E y⟩ of two rows."""
        if (one, other) not in self._known:
            self._known[one, other] = Product(self._vectors(one) @ self._vectors(other).T)
        return self._known[one, other]

    def square(self, name: str) -> Mean:
        """E‖x‖² of a single rollout."""
        return Mean(self.squares[name])

    def along(self, name: str, aim: str) -> tuple[Product, Product, Product, Mean]:
        """What `batch_cosine` takes: ‖E x‖², ⟨E x, E y⟩, ‖E y‖² and E‖x‖²."""
        return self.product(name, name), self.product(name, aim), self.product(aim, aim), self.square(name)

    def _vectors(self, name: Name) -> Array:
        if isinstance(name, tuple):
            return self.means[name[0]].astype(np.float64) - self.means[name[1]]
        return self.means[name].astype(np.float64)


def qualities(measured: Measured, batch: int) -> list[RowQuality]:
    """All rows that were asked for, in their order."""
    best = _best_llmr(measured, batch)
    return [_quality(measured, row, batch, best) for row in measured.rows.asked]


def recommendation(measured: Measured, found: Sequence[RowQuality], batch: int) -> Recommendation | None:
    """For the objective E[G_0]; `None` where its gradient cannot be told from 0, as then nothing points along it.

    Told from 0 is a squared norm whose interval lies above 0: chance gives one that is not a direction too, and rows
    angles to it. The set holds every row whose difference from the best has an interval that reaches 0, paired over
    inputs and at a level that holds for all of them together (Bonferroni).
    """
    aim = measured.rows.aim(LLMR.objective.name)
    length = estimate(lambda a: a, (measured.product(aim, aim),), measured.n)
    if length.low is None or length.low <= 0:
        return None
    rated = {
        row: value
        for row, quality in zip(measured.rows.asked, found, strict=True)
        if quality.objective == LLMR.objective.name and (value := quality.batch_cosine[batch].value) is not None
    }
    if not rated:
        return None
    best = max(rated, key=lambda row: rated[row])
    others = [row for row in rated if row is not best]
    level = 1 - (1 - LEVEL) / max(1, len(others))
    undecided = [row for row in others if not _worse(measured, row, best, aim, batch, level)]
    along = found[measured.rows.asked.index(best)].batch_cosine[batch]
    return Recommendation(
        batch,
        measured.name(best),
        best.baseline.name,
        tuple(map(measured.name, undecided)),
        _sentence(measured.rows.asked, along, best, undecided, batch),
    )


def _quality(measured: Measured, row: GradientRow, batch: int, best_llmr: str) -> RowQuality:
    n, name, objective = measured.n, measured.name(row), row.estimator.objective.name
    aim, bias = measured.rows.aim(objective), measured.rows.bias(row)
    xx, _, gg, square = along = measured.along(name, aim)
    llmr = measured.name(GradientRow(LLMR, NONE))
    reference = (measured.product(llmr, llmr), measured.square(llmr))
    sizes = sorted({*BATCHES, batch})

    def to(other: str) -> Estimate:  # that of the expected gradient, which an unbiased baseline leaves as it is
        return estimate(cosine, measured.along(measured.rows.steady(row), measured.rows.aim(other))[:3], n)

    return RowQuality(
        name,
        row.baseline.name,
        objective,
        row.unbiased,
        estimate(lambda a: a, (xx,), n),
        _rooted(estimate(_by_whole, (measured.product(bias, bias), gg), n)),
        estimate(noise, (xx, square), n, "log"),
        estimate(lambda a, b, c, d: noise(a, b) / noise(c, d), (xx, square, *reference), n, "log"),
        estimate(signal_to_noise, (xx, square), n, "log"),
        estimate(lambda a, b: noise(a, b) / a if a > 0 else np.nan, (xx, square), n, "log"),
        to(objective),
        to(LLMR.objective.name),
        to(REVERSE_KL.objective.name),
        {size: estimate(batch_cosine(size), along, n) for size in sizes},
        {size: estimate(_scaled_error(size), along, n) for size in sizes},
        _worth(measured, name, best_llmr, aim, batch),
    )


def _scaled_error(size: int) -> Callable[[float, float, float, float], float]:
    return lambda xx, xg, gg, square: 1 - batch_cosine(size)(xx, xg, gg, square) ** 2


def _by_whole(bias: float, whole: float) -> float:
    return bias / whole if whole > 0 else float("nan")


def _rooted(square: Estimate) -> Estimate:
    """The root of an estimated square, which chance may have made negative; bounds of the square are more exact."""
    value, low, high = (
        None if end is None else float(np.sign(end) * np.sqrt(abs(end)))
        for end in (square.value, square.low, square.high)
    )
    return Estimate(value, low, high, square.n)


def _best_llmr(measured: Measured, batch: int) -> str:
    aim = measured.rows.aim(LLMR.objective.name)
    even = np.full(measured.n, 1 / measured.n)

    def rated(name: str) -> float:
        value = batch_cosine(batch)(*(part.at(even)[0] for part in measured.along(name, aim)))
        return -np.inf if np.isnan(value) else value

    return max((measured.name(row) for row in measured.rows.asked if row.estimator is LLMR), key=rated)


def _worth(measured: Measured, name: str, best: str, aim: str, batch: int) -> Estimate:
    """b' / b, where LLMR at its best points as well in a batch of b' as the row does in one of b.

    LLMR's cosine is c / √(1 + B / b') with the noise scale B and the cosine c of its expected gradient. Absent where
    the row points as well as LLMR would without any noise.
    """
    if aim != measured.rows.aim(LLMR.objective.name):
        return Estimate(None, None, None, measured.n)
    xx, xg, gg, square = measured.along(name, aim)
    yy, yg, _, theirs = measured.along(best, aim)
    parts: list[Part] = [gg, xx, xg, square, yy, yg, theirs]

    def worth(gg: float, xx: float, xg: float, square: float, yy: float, yg: float, theirs: float) -> float:
        ours, limit = batch_cosine(batch)(xx, xg, gg, square), cosine(yy, yg, gg)
        return noise(yy, theirs) / yy / ((limit / ours) ** 2 - 1) / batch if 0 < ours < limit else float("nan")

    return estimate(worth, parts, measured.n, "log")


def _worse(measured: Measured, row: GradientRow, best: GradientRow, aim: str, batch: int, level: float) -> bool:
    """Whether a row points worse than the best by more than chance."""
    xx, xg, gg, square = measured.along(measured.name(best), aim)
    yy, yg, _, theirs = measured.along(measured.name(row), aim)
    parts: list[Part] = [xx, xg, square, yy, yg, theirs, gg]
    point = batch_cosine(batch)

    def difference(xx: float, xg: float, square: float, yy: float, yg: float, theirs: float, gg: float) -> float:
        return point(xx, xg, gg, square) - point(yy, yg, gg, theirs)

    found = estimate(difference, parts, measured.n, level=level)
    return found.low is not None and found.low > 0


def _sentence(
    rows: Sequence[GradientRow], along: Estimate, best: GradientRow, undecided: Sequence[GradientRow], batch: int
) -> str:
    interval = "" if along.low is None else f" [{along.low:.2f}, {along.high:.2f}]"
    others = {0: "all others can", 1: "one other cannot"}.get(len(undecided), f"{len(undecided)} others cannot")
    tail = f" ({best.estimator.tail} tail)" if best.estimator.tail else ""
    text = (
        f"In batches of {batch} rollouts {best.estimator.name}{tail} with the baseline {best.baseline.name} points "
        f"best along the gradient of E[G], with a cosine of {along.value:.2f}{interval}; {others} be told from "
        "it."
    )
    k = best.estimator.k
    if k is not None and k > 1:
        shrunk = (f"shrink:{1 / k:g}", best.baseline.name)
        for row in rows:
            if (row.estimator.name, row.baseline.name) == shrunk:
                does = "does as well" if row in undecided else "does worse"
                text += f" Weighing the whole future by 1/{k} instead ({shrunk[0]}) {does}."
    return text
