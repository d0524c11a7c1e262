"""Expected vectors of independent inputs: their squared norms, angles and noise, without the bias of finite samples.

Each input i gives a mean vector x_i, say the gradient of its rollouts. The squared norm of the mean over inputs would
count the noise of every x_i as length. A product of two *different* inputs has no such part:

    ⟨E x, E y⟩ ≈ (⟨Σ_i x_i, Σ_j y_j⟩ - Σ_i ⟨x_i, y_i⟩) / (n (n - 1)),

a U-statistic, unbiased also where the truth is 0, where it is as often below 0 as above. With weights w of the inputs,
which sum to 1, it is (⟨Σ w_i x_i, Σ w_j y_j⟩ - Σ w_i² ⟨x_i, y_i⟩) / (1 - Σ w_i²). All that is said of gradients is a
smooth function of such products and of mean squared norms, so that one rule makes its interval over inputs. It is made
from how much each input moves the value. That counts twice what pairs of inputs add beyond what each adds alone, most
of it where the noise of all inputs together outweighs the signal; `_once` takes it back.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.intervals import LEVEL, Scale, of_weights

STEP = 1e-5
"""Relative step of a numerical derivative."""


class Part(Protocol):
    """A number that depends on the weights of the inputs."""

    def at(self, weights: Array) -> tuple[float, Array]:
        """Its value under weights [n], and its derivative by each of them."""
        ...

    def pairs(self) -> Array | float:
        """What it is the mean of over pairs of different inputs, [n, n], its diagonal of no meaning; 0 if it is not."""
        ...


class Product:
    """⟨E x, E y⟩ from `gram[i, j]` = ⟨x_i, y_j⟩."""

    def __init__(self, gram: Array) -> None:
        self.gram = gram
        self.own = np.diagonal(gram)

    def at(self, weights: Array) -> tuple[float, Array]:
        """See `Part.at`."""
        mass = 1 - float(weights @ weights)
        forward, back = self.gram @ weights, weights @ self.gram
        value = (float(weights @ forward) - float(weights**2 @ self.own)) / mass
        return value, (forward + back - 2 * weights * (self.own - value)) / mass

    def pairs(self) -> Array:
        """See `Part.pairs`."""
        return self.gram


class Mean:
    """The mean of a number of each input, such as the mean squared norm of the vectors that x_i is the mean of."""

    def __init__(self, values: Array) -> None:
        self.values = values

    def at(self, weights: Array) -> tuple[float, Array]:
        """See `Part.at`."""
        return float(weights @ self.values), self.values

    def pairs(self) -> float:
        """See `Part.pairs`."""
        return 0.0


def estimate(
    function: Callable[..., float], parts: Sequence[Part], n: int, scale: Scale = "identity", level: float = LEVEL
) -> Estimate:
    """A smooth function of the parts, with its interval over the `n` inputs; absent where it has no value.

    NaN is what a function returns where it has none, as for the angle of a vector whose squared norm is not above 0.
    """

    def statistic(weights: Array) -> tuple[float, Array]:
        found = [part.at(weights) for part in parts]
        values = [value for value, _ in found]
        by_part = zip(_slopes(function, values), found, strict=True)
        return function(*values), sum((slope * derivative for slope, (_, derivative) in by_part), np.zeros(n))

    even = np.full(n, 1 / n)
    value, influence = statistic(even)
    if not np.isfinite(value):
        return Estimate(None, None, None, n)
    if n < 3 or not np.isfinite(influence).all():
        return Estimate(value, None, None, n)
    slopes = _slopes(function, [part.at(even)[0] for part in parts])
    of_pairs = np.zeros((n, n))
    for slope, part in zip(slopes, parts, strict=True):
        of_pairs += slope * part.pairs()
    return of_weights(statistic, n, scale, level, _once(influence, of_pairs))


def _slopes(function: Callable[..., float], values: Sequence[float]) -> list[float]:
    """The derivative of a function by each of its arguments."""
    slopes = []
    for place, value in enumerate(values):
        step = STEP * (abs(value) or 1.0)
        ends = [function(*values[:place], value + sign * step, *values[place + 1 :]) for sign in (1, -1)]
        slopes.append((ends[0] - ends[1]) / (2 * step))
    return slopes


def _once(influence: Array, of_pairs: Array) -> float:
    """The standard error in which pairs of inputs count once, by that of `influence[n]`, in which they count twice.

    `of_pairs[n, n]` is the kernel of the statistic, as a mean over pairs. What is left of it beyond its means over each
    input, h, has the variance 2 / (n (n - 1))² Σ_{i≠j} h², the second term of Hoeffding's decomposition; the squares of
    influences hold the first and twice the second (Efron and Stein, 1981, "The jackknife estimate of variance").
    """
    n = len(influence)
    kernel = (of_pairs + of_pairs.T) / 2
    np.fill_diagonal(kernel, 0)
    rows = kernel.sum(1) / (n - 2)
    kernel += kernel.sum() / ((n - 1) * (n - 2)) - rows[:, None] - rows
    np.fill_diagonal(kernel, 0)
    beyond = 2 * float((kernel**2).sum()) / (n * (n - 1)) ** 2
    both = float(((influence - influence.mean()) ** 2).sum()) / (n * (n - 1))
    return min(1.0, float(np.sqrt(max(both - beyond, beyond) / both))) if both > 0 else 1.0


# Functions of ‖E x‖² (`xx`), ‖E y‖² (`yy`), ⟨E x, E y⟩ (`xy`) and E‖x‖² of single vectors (`square`)


def root(value: float) -> float:
    """The square root, NaN below 0."""
    return float(np.sqrt(value)) if value >= 0 else float("nan")


def noise(xx: float, square: float) -> float:
    """The trace of the covariance of a single vector, E‖x‖² - ‖E x‖²."""
    return square - xx


def signal_to_noise(xx: float, square: float) -> float:
    """‖E x‖² by the trace of the covariance; its inverse is the noise scale, in vectors (arXiv 1812.06162)."""
    return xx / noise(xx, square) if noise(xx, square) > 0 else float("nan")


def cosine(xx: float, xy: float, yy: float) -> float:
    """Of the angle between E x and E y; NaN where one of them cannot be told from 0."""
    return xy / root(xx * yy) if xx > 0 and yy > 0 else float("nan")


def batch_cosine(batch: float) -> Callable[[float, float, float, float], float]:
    """How well the mean x̄ of a batch of so many single vectors points along E y: ⟨E x̄, E y⟩ / √(E‖x̄‖² ‖E y‖²).

    The cosine in the root-mean-square sense, where E‖x̄‖² = ‖E x‖² + trace / batch. Its square is the share of E‖x̄‖²
    along E y that is signal, so 1 - cosine² is the error, by ‖E y‖², of x̄ scaled as well as may be. Scaling x changes
    nothing. It is the mean of the cosine where a batch's noise has many directions and hence a nearly fixed length.
    """

    def function(xx: float, xy: float, yy: float, square: float) -> float:
        length = xx + noise(xx, square) / batch
        return xy / root(length * yy) if length > 0 and yy > 0 else float("nan")

    return function
