"""Judges with known faults, to be found out."""

import numpy as np

from ketchup_eval.judge.effects import A_FIRST, A_IS_A


def planted(n, seed, *, main=0.0, position=0.0, id=0.0, length=0.0, spread=0.0, missing=0.0):
    """Votes [n, 4] and lengths [n, 2] of a judge whose chance of preferring a is a sum of its faults.

    P(a) = (1 + main + taste of the item + position (a first: +, else -) + id (a is "A": +, else -)) / 2
    + length x relative difference of lengths. `spread` is how far items differ in taste; it makes votes correlate.
    """
    generator = np.random.default_rng(seed)
    lengths = generator.integers(20, 200, size=(n, 2)).astype(float)
    gap = (lengths[:, 0] - lengths[:, 1]) / lengths.sum(axis=1)
    taste = spread * generator.choice([-1.0, 1.0], size=n)
    chance = (1 + main + taste[:, None] + position * A_FIRST + id * A_IS_A) / 2 + length * gap[:, None]
    assert chance.min() >= 0
    assert chance.max() <= 1
    votes = np.where(generator.random((n, 4)) < chance, 1.0, -1.0)
    votes[generator.random((n, 4)) < missing] = np.nan
    return votes, lengths
