"""How often 95% intervals hold the truth: stored rollouts as the population, and log-normal inputs of a known mean.

Each student's inputs are the whole population, whose numbers are then the truth; n of them are drawn with replacement,
again and again. "Hall" is what the toolkit uses; the others are the percentile bootstrap, the studentised bootstrap on
the log scale and Student's t. "Effective" is the median of (Σ x)² / Σ x² of the drawn inputs.

    ketchup variance --limit 240 --name population
    python tests/benchmarks/coverage.py runs/population [--inputs 16 32 64 128] [--repeats 2000]
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy import stats

from ketchup_eval.stats.intervals import ratios
from ketchup_eval.variance.per_input import PerInput, concatenate
from ketchup_eval.variance.rollout_store import read_part
from ketchup_eval.variance.variance_settings import estimators_of

KS = (1, 4, 16)
RESAMPLES = 1000
SPREADS = (0.7, 1.2, 1.6)
"""Standard deviations of the logarithms of the synthetic inputs."""


def population(folder):
    """Quantities of one student: numerators and denominators per input, the latter 1 for means."""
    blocks, kl, actions = [], [], []
    per_input = PerInput(estimators_of(KS, ["segment"], []), "raw")
    for path in sorted(folder.glob("part-*.parquet")):
        part = read_part(path, pq.read_table(path, columns=["id"]).column("id").unique().to_pylist())
        blocks.append(per_input(part.numbers))
        kl.append(part.values["kl"].sum((1, 2)))
        actions.append(part.mask.sum((1, 2)))
    found, one = concatenate(blocks), np.ones(sum(map(len, kl)))
    variance = {row.k: column for row, column in zip(found.estimators, found.variance.T, strict=True)}
    quantities = {f"variance, K = {k}": (variance[k], one) for k in KS}
    quantities |= {f"ratio, K = {k}": (variance[k], variance[1]) for k in KS[1:]}
    quantities["bias, K = 4"] = (found.bias[:, 2], one)
    quantities["MSE, K = 4"] = (found.mse[:, 2], one)
    quantities["KL"] = (np.concatenate(kl), np.concatenate(actions).astype(float))
    return quantities


def log_normal(spread, size=400_000):
    """A mean, and a ratio of two whose logarithms are correlated at 0.9."""
    z, e = np.random.default_rng(0).normal(size=(2, size))
    x, y = np.exp(spread * z), np.exp(spread * (0.9 * z + (1 - 0.81) ** 0.5 * e))
    return {"mean": (x, np.ones(size)), "ratio": (y, x)}


def hall(x, y):
    found = ratios(x.T, y.T)
    return np.array([e.low for e in found]), np.array([e.high for e in found])


def linear(x, y):
    """Value, standard error and the same in each resample, [R] and [R, resamples]."""
    n = x.shape[1]
    weights = np.random.default_rng(1).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).T / n
    value = x.mean(1) / y.mean(1)
    error = ((x - value[:, None] * y) ** 2).mean(1) ** 0.5 / y.mean(1) / (n - 1) ** 0.5
    above, below, xx, xy, yy = (items @ weights for items in (x, y, x * x, x * y, y * y))
    again = above / below
    squares = np.maximum(xx - 2 * again * xy + again**2 * yy, 0)
    return value, error, again, squares**0.5 / below / (n - 1) ** 0.5


def percentile(x, y):
    return np.quantile(linear(x, y)[2], [0.025, 0.975], axis=1)


def studentised(x, y):
    value, error, again, errors = linear(x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (np.log(again) - np.log(value)[:, None]) / (errors / again)
    t = np.where(errors > 0, t, np.where(again < value[:, None], -np.inf, np.inf))
    low, high = np.quantile(t, [0.025, 0.975], axis=1, method="inverted_cdf")
    return value * np.exp(-high * error / value), value * np.exp(-low * error / value)


def student(x, y):
    value, error, *_ = linear(x, y)
    half = stats.t.ppf(0.975, x.shape[1] - 1) * error
    return value - half, value + half


METHODS = {"Hall": hall, "percentile": percentile, "studentised": studentised, "t": student}


def show(label, above, below, n, repeats, generator):
    truth = above.mean() / below.mean()
    drawn = generator.integers(len(above), size=(repeats, n))
    x, y = above[drawn], below[drawn]
    effective = np.median(x.sum(1) ** 2 / (x**2).sum(1))
    cells = []
    for method in METHODS.values():
        low, high = method(x, y)
        width = np.median(high - low) / abs(truth)
        cells.append(f"{((low <= truth) & (truth <= high)).mean():7.1%} {width:5.2f}")
    print(f"{n:4d} {effective:6.1f}  {'  '.join(cells)}  {label}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a study with many inputs")
    parser.add_argument("--inputs", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--repeats", type=int, default=2000)
    given = parser.parse_args()
    generator = np.random.default_rng(0)
    worlds = {folder.name: population(folder) for folder in sorted((given.run / "rollouts").iterdir())}
    worlds |= {f"log-normal, σ = {spread}": log_normal(spread) for spread in SPREADS}
    print("coverage and median width over the truth\n   n effective " + "".join(f"{name:>15s}" for name in METHODS))
    for name, quantities in worlds.items():
        for quantity, (above, below) in quantities.items():
            for n in given.inputs:
                show(f"{name}: {quantity}", above, below, n, given.repeats, generator)


if __name__ == "__main__":
    main()
