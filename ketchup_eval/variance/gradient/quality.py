"""How good an estimate of its objective's gradient each row is, with intervals over inputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ketchup.maths.gauges import Gauge
from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.intervals import LEVEL
from ketchup_eval.stats.products import Mean, Part, Product, batch_cosine, cosine, estimate, noise, signal_to_noise
from ketchup_eval.variance.gradient.rows import LLMR, REVERSE_KL, Row, Weights

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


class Gradients:
    """Mean gradients `means[I, M, D]` and mean squared norms `squares[I, M]` of inputs, the M being `Weights.of`."""

    def __init__(self, weights: Weights, means: Array, squares: Array) -> None:
        self.weights = weights
        self.means, self.squares = means, squares
        self.n = len(means)
        self._known: dict[tuple[int, int], Product] = {}

    def product(self, one: int, other: int) -> Product:
        """⟨E x, E y⟩ of two of the M."""
        if (one, other) not in self._known:
            self._known[one, other] = Product(self.means[:, one] @ self.means[:, other].T)
        return self._known[one, other]

    def square(self, one: int) -> Mean:
        """E‖x‖² of a single rollout."""
        return Mean(self.squares[:, one])

    def bias(self, row: int) -> int:
        """The place of the bias of a row."""
        return len(self.weights.rows) + row

    def target(self, objective: str) -> int:
        """The place of an objective's gradient."""
        return 2 * len(self.weights.rows) + list(self.weights.targets).index(objective)


def qualities(gradients: Gradients, gauge: Gauge, batch: int) -> list[RowQuality]:
    """All rows, in their order."""
    best = _best_llmr(gradients, batch)
    return [_quality(gradients, place, row, gauge, batch, best) for place, row in enumerate(gradients.weights.rows)]


def recommendation(
    gradients: Gradients, found: Sequence[RowQuality], gauge: Gauge, batch: int
) -> Recommendation | None:
    """For the objective E[G_0]; `None` where no row's direction can be told.

    The set holds every row whose difference from the best has an interval that reaches 0, paired over inputs and at a
    level that holds for all of them together (Bonferroni).
    """
    aim = gradients.target(LLMR.objective.name)
    rated = {
        place: quality.batch_cosine[batch].value
        for place, quality in enumerate(found)
        if quality.objective == LLMR.objective.name and quality.batch_cosine[batch].value is not None
    }
    if not rated:
        return None
    best = max(rated, key=lambda place: rated[place] or 0.0)
    others = [place for place in rated if place != best]
    level = 1 - (1 - LEVEL) / max(1, len(others))
    rows = gradients.weights.rows
    undecided = [place for place in others if not _worse(gradients, place, best, aim, batch, level)]
    names = tuple(rows[place].signature(gauge) for place in undecided)
    return Recommendation(
        batch,
        rows[best].signature(gauge),
        rows[best].baseline.name,
        names,
        _sentence(rows, found, best, undecided, batch),
    )


def _quality(gradients: Gradients, place: int, row: Row, gauge: Gauge, batch: int, best_llmr: int) -> RowQuality:
    n = gradients.n
    xx, square = gradients.product(place, place), gradients.square(place)
    objective = row.estimator.objective.name
    aim = gradients.target(objective)
    gg, xg = gradients.product(aim, aim), gradients.product(place, aim)
    bias = gradients.bias(place)
    sizes = sorted({*BATCHES, batch})
    along = {size: estimate(batch_cosine(size), (xx, xg, gg, square), n) for size in sizes}
    reference = (gradients.product(0, 0), gradients.square(0))

    def to(other: str) -> Estimate:
        there = gradients.target(other)
        return estimate(cosine, (xx, gradients.product(place, there), gradients.product(there, there)), n)

    return RowQuality(
        row.signature(gauge),
        row.baseline.name,
        objective,
        row.unbiased,
        estimate(lambda a: a, (xx,), n),
        estimate(_relative, (gradients.product(bias, bias), gg), n),
        estimate(noise, (xx, square), n, "log"),
        estimate(lambda a, b, c, d: noise(a, b) / noise(c, d), (xx, square, *reference), n, "log"),
        estimate(signal_to_noise, (xx, square), n, "log"),
        estimate(lambda a, b: noise(a, b) / a if a > 0 else np.nan, (xx, square), n, "log"),
        estimate(cosine, (xx, xg, gg), n),
        to(LLMR.objective.name),
        to(REVERSE_KL.objective.name),
        along,
        {
            size: estimate(
                lambda a, b, c, d, size=size: 1 - batch_cosine(size)(a, b, c, d) ** 2, (xx, xg, gg, square), n
            )
            for size in sizes
        },
        _worth(gradients, place, best_llmr, aim, batch),
    )


def _scaled_error(size: int) -> Callable[[float, float, float, float], float]:
    return lambda xx, xg, gg, square: 1 - batch_cosine(size)(xx, xg, gg, square) ** 2


def _relative(bias: float, whole: float) -> float:
    return float(np.sign(bias) * np.sqrt(abs(bias) / whole)) if whole > 0 else float("nan")


def _best_llmr(gradients: Gradients, batch: int) -> int:
    aim = gradients.target(LLMR.objective.name)
    even = np.full(gradients.n, 1 / gradients.n)

    def rated(place: int) -> float:
        parts = (gradients.product(place, place), gradients.product(place, aim), gradients.product(aim, aim))
        value = batch_cosine(batch)(*(part.at(even)[0] for part in (*parts, gradients.square(place))))
        return -np.inf if np.isnan(value) else value

    places = [place for place, row in enumerate(gradients.weights.rows) if row.estimator is LLMR]
    return max(places, key=rated)


def _worth(gradients: Gradients, place: int, best: int, aim: int, batch: int) -> Estimate:
    """b' / b, where LLMR at its best points as well in a batch of b' as the row does in one of b.

    LLMR's cosine is c / √(1 + B / b') with the noise scale B and the cosine c of its expected gradient. Absent where
    the row points as well as LLMR would without any noise.
    """
    if aim != gradients.target(LLMR.objective.name):
        return Estimate(None, None, None, gradients.n)
    parts: list[Part] = [gradients.product(aim, aim)]
    for one in (place, best):
        parts += [gradients.product(one, one), gradients.product(one, aim), gradients.square(one)]

    def worth(gg: float, xx: float, xg: float, square: float, yy: float, yg: float, theirs: float) -> float:
        ours, limit = batch_cosine(batch)(xx, xg, gg, square), cosine(yy, yg, gg)
        return noise(yy, theirs) / yy / ((limit / ours) ** 2 - 1) / batch if 0 < ours < limit else float("nan")

    return estimate(worth, parts, gradients.n, "log")


def _worse(gradients: Gradients, place: int, best: int, aim: int, batch: int, level: float) -> bool:
    """Whether a row points worse than the best by more than chance."""
    gg = gradients.product(aim, aim)
    parts: list[Part] = []
    for one in (best, place):
        parts += [gradients.product(one, one), gradients.product(one, aim), gradients.square(one)]
    point = batch_cosine(batch)

    def difference(xx: float, xg: float, square: float, yy: float, yg: float, theirs: float, gg: float) -> float:
        return point(xx, xg, gg, square) - point(yy, yg, gg, theirs)

    found = estimate(difference, (*parts, gg), gradients.n, level=level)
    return found.low is not None and found.low > 0


def _sentence(rows: Sequence[Row], found: Sequence[RowQuality], best: int, undecided: Sequence[int], batch: int) -> str:
    row, along = rows[best], found[best].batch_cosine[batch]
    interval = "" if along.low is None else f" [{along.low:.2f}, {along.high:.2f}]"
    others = "one other" if len(undecided) == 1 else f"{len(undecided) or 'no'} others"
    text = (
        f"In batches of {batch} rollouts {row.estimator.name} with the baseline {row.baseline.name} points best along "
        f"the gradient of E[G], with a cosine of {along.value:.2f}{interval}; {others} cannot be told from it."
    )
    k = row.estimator.k
    if k is not None and k > 1:
        shrunk = (f"shrink:{1 / k:g}", row.baseline.name)
        places = [place for place, other in enumerate(rows) if (other.estimator.name, other.baseline.name) == shrunk]
        for place in places:
            does = "does as well" if place in undecided else "does worse"
            text += f" Weighing the whole future by 1/{k} instead ({shrunk[0]}) {does}."
    return text
