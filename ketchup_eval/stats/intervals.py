"""Intervals of statistics of independent inputs, from what each input does to them; for inputs that are few and unlike.

A statistic θ is a smooth function of how inputs are distributed: a mean, a ratio of means, a cosine of two means. The
*influence* ψ[n] of its inputs is its derivative by their weights, of mean 0: θ̂ - θ ≈ mean ψ, with the standard error
SE = s / √n, s² = Σ ψ² / (n - 1). Where few inputs carry much of a sum, T = (θ̂ - θ) / SE is lopsided and has heavy
tails: samples that miss those inputs make θ̂ and SE small together. Both are mended:

* x = T + (a T² + b) / √n + a² T³ / 3n is as good as symmetric (Hall, 1992, "On the removal of skewness by
  transformation"). b = γ / 6, γ being the skewness of ψ. a = γ / 3 for a mean; in general a = ς / 2 - c - γ / 6, where
  ς says how fast log s² grows and c how much θ bends as the weights move along ψ (as in DiCiccio and Efron, 1992).
* x has the quantiles of Student's t with ν degrees of freedom, those that s² has when ψ has the excess kurtosis κ:
  2 / ν = 2 / (n - 1) + κ / n (Satterthwaite, 1946), but at most n - 1.

Nothing is drawn, so no seed matters and 10,000 inputs take milliseconds. `tests/benchmarks/coverage.py` measures how
often such intervals hold the truth, beside bootstraps. An input that was never drawn leaves no trace in any of them;
`concentration` says how much rests on few inputs. Inputs that do not differ leave nothing to tell how far the next
would stray: then there are no bounds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ketchup_eval.stats.bootstrap import Array, Estimate

LEVEL = 0.95
ROUNDING = 1e-12
"""Relative size below which influences are rounding errors of inputs that are all alike."""
STEP = 1e-4
"""How far weights are moved, in standard deviations, to see how a statistic bends."""

ENOUGH = 20
"""Effective inputs below which a mean is said to rest on too few. More are no guarantee: see `concentration`."""

Statistic = Callable[[Array], tuple[float, Array]]
"""From weights of the inputs [n], which sum to 1, to the value of a statistic and its influence [n] under them."""
Scale = Literal["identity", "log", "logit", "arctanh"]


def means(values: Array, level: float = LEVEL) -> list[Estimate]:
    """The mean over inputs of each column of `values[n, m]`; NaN where an input lacks the quantity.

    A quantity that is negative for no input has no bound below 0.
    """
    _check(values)
    present = ~np.isnan(values)
    n = present.sum(axis=0)
    value = _quotient(np.where(present, values, 0).sum(axis=0), n)
    influence = np.where(present, values - value, 0)
    return _estimates(value, influence, n, np.zeros(len(value)), _lowest(values), level)


def ratios(above: Array, below: Array, level: float = LEVEL) -> list[Estimate]:
    """The ratio of the means of each pair of columns, over the inputs that have both; both are [n, m].

    The mean of ratios would be another quantity, dominated by inputs whose denominator is near zero. Intervals are
    paired: an input's influence is (above - θ̂ below) / mean(below), so what numerator and denominator share drops out.
    """
    _check(above)
    _check(below)
    if above.shape != below.shape:
        raise ValueError(f"numerators {list(above.shape)} and denominators {list(below.shape)} differ in shape")
    present = ~(np.isnan(above) | np.isnan(below))
    n = present.sum(axis=0)
    above, below = (np.where(present, values, 0) for values in (above, below))
    value = _quotient(above.sum(axis=0), below.sum(axis=0))
    mean = _quotient(below.sum(axis=0), n)
    influence = _quotient(np.where(present, above - value * below, 0), mean)
    # c = -ρ and ς = γ - 4 ρ, ρ being the correlation of influence and denominator times the latter's variation
    unit = _quotient(influence, np.abs(influence).max(axis=0, initial=0))
    rho = _quotient((unit * below).sum(axis=0), mean * np.sqrt(n * (unit**2).sum(axis=0)))
    return _estimates(value, influence, n, -rho, np.minimum(_lowest(above), _lowest(below)), level)


def of_weights(
    statistic: Statistic, n: int, scale: Scale = "identity", level: float = LEVEL, narrower: float = 1.0
) -> Estimate:
    """Any smooth statistic of `n` inputs; its interval is made on `scale` and taken back.

    `narrower` is the standard error of the statistic by that of its influences, where the latter is too large.
    `logit` and `arctanh` keep it within (0, 1) and (-1, 1), `log` above 0; a value outside has no bounds.
    """
    weights = np.full(n, 1 / n)
    value, influence = statistic(weights)
    influence = influence - influence.mean()
    spread = float(np.sqrt((influence**2).mean()))
    change = _SCALES[scale]
    if n < 2 or not change.holds(value) or not spread > ROUNDING * abs(value):
        return Estimate(None if np.isnan(value) else float(value), None, None, n)
    direction = influence / spread
    step = min(STEP, 0.1 / float(np.abs(direction).max()))
    (up, growth_up), (down, growth_down) = (
        _moved(statistic, weights * (1 + sign * step * direction)) for sign in (1, -1)
    )
    bend = (up + down - 2 * value) / (2 * step**2 * spread)
    growth = (growth_up - growth_down) / (2 * step)
    slope, curvature = change.derivatives(value)
    # a, less the γ / 3 of a mean; on another scale θ bends more by h'' s / 2 h', and log s² grows by 2 h'' s / h'
    beyond = growth / 2 - bend - float((direction**3).mean()) / 2 + curvature * spread / 2
    low, high = _bounds(slope * influence[:, None], np.array([n]), np.array([beyond]), level)
    moved = change.there(value)
    ends = [float(change.back(moved + narrower * bound[0])) for bound in (low, high)]
    return Estimate(float(value), min(ends), max(ends), n)


@dataclass(frozen=True)
class Concentration:
    """On how few inputs a mean of non-negative numbers rests.

    `effective` is (Σ x)² / Σ x² of the `n` inputs: so many equal ones would make an equally certain mean. `top_tenth`
    is the share of the sum in the tenth of the inputs that has most of it (rounded up).
    """

    effective: float
    top_tenth: float
    n: int


def concentration(values: Array) -> Concentration | None:
    """That of `values[n]`, inputs without a number (NaN) left out; `None` where they add up to nothing."""
    known = np.sort(values[~np.isnan(values)])[::-1]
    total = known.sum()
    if not total > 0 or known[-1] < 0:
        return None
    shares = known / total
    return Concentration(1 / float((shares**2).sum()), float(shares[: -(-len(shares) // 10)].sum()), len(shares))


def _estimates(
    value: Array, influence: Array, n: NDArray[np.int64], beyond: Array, lowest: Array, level: float
) -> list[Estimate]:
    low, high = _bounds(influence, n, beyond, level)
    unknown = (n < 2) | ~(np.abs(influence).max(axis=0, initial=0) > ROUNDING * np.abs(value))
    return [
        Estimate(None, None, None, int(count))
        if np.isnan(at)
        else Estimate(float(at), None, None, int(count))
        if absent
        else Estimate(float(at), float(max(at + below, least)), float(at + above), int(count))
        for at, below, above, count, absent, least in zip(value, low, high, n, unknown, lowest, strict=True)
    ]


def _bounds(influence: Array, n: NDArray[np.int64], beyond: Array, level: float) -> tuple[Array, Array]:
    """How far below and above its value the bounds of each statistic are, [m] each, from `influence[n, m]`.

    Absent inputs have influence 0. a = γ / 3 + `beyond[m]`.
    """
    largest = np.abs(influence).max(axis=0, initial=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = influence / largest
        second, third, fourth = ((unit**power).sum(axis=0) / n for power in (2, 3, 4))
        skewness = third / second**1.5
        degrees = 2 / (2 / (n - 1) + (fourth / second**2 - 3) / n)
        error = np.sqrt(second / (n - 1)) * largest
        quantile = stdtrit(np.clip(degrees, 1, n - 1), (1 + level) / 2)
        bend = (skewness / 3 + beyond) / np.sqrt(n)
        shift = skewness / 6 / np.sqrt(n)
        below, above = (-error * _untransformed(x - shift, bend) for x in (quantile, -quantile))
    return below, above


def _untransformed(x: Array, bend: Array) -> Array:
    """The T with T + bend T² + bend² T³ / 3 = x; the left side is ((1 + bend T)³ - 1) / 3 bend."""
    straight = np.abs(bend * x) < 1e-6
    root = (np.cbrt(1 + 3 * bend * x) - 1) / np.where(bend == 0, 1, bend)
    result: Array = np.where(straight, x - bend * x**2, root)
    return result


def _moved(statistic: Statistic, weights: Array) -> tuple[float, float]:
    """A statistic's value under other weights, and log Σ w ψ² of its influence there."""
    value, influence = statistic(weights)
    centred = influence - weights @ influence
    return value, float(np.log(weights @ centred**2))


@dataclass(frozen=True)
class _Change:
    """A scale h: where it is defined, h, its inverse, and h' with h'' / h'."""

    holds: Callable[[float], bool]
    there: Callable[[float], float]
    back: Callable[[float], float]
    derivatives: Callable[[float], tuple[float, float]]


_SCALES: dict[Scale, _Change] = {
    "identity": _Change(np.isfinite, lambda x: x, lambda y: y, lambda _: (1.0, 0.0)),
    "log": _Change(lambda x: x > 0, np.log, np.exp, lambda x: (1 / x, -1 / x)),
    "logit": _Change(
        lambda x: 0 < x < 1,
        lambda x: np.log(x / (1 - x)),
        lambda y: 1 / (1 + np.exp(-y)),
        lambda x: (1 / (x * (1 - x)), (2 * x - 1) / (x * (1 - x))),
    ),
    "arctanh": _Change(
        lambda x: -1 < x < 1, np.arctanh, np.tanh, lambda x: (1 / (1 - x**2), 2 * x / (1 - x**2))
    ),
}  # fmt: skip


def _check(values: Array) -> None:
    if values.ndim != 2:
        raise ValueError(f"values are an array [n, m], not {list(values.shape)}")
    if np.isinf(values).any():
        raise ValueError("values must be finite, or NaN where an input lacks the quantity")


def _lowest(values: Array) -> Array:
    """0 for a column without a negative number, else -∞."""
    least: Array = np.where((values < 0).any(axis=0), -np.inf, 0.0)
    return least


def _quotient(above: Array, below: Array | NDArray[np.int64]) -> Array:
    """`above / below`, NaN where `below` is zero or so near it that there is no such number, without a warning."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = above / below
        return np.where(np.isfinite(quotient), quotient, np.nan)
