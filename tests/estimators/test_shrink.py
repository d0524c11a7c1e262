"""The control of K-step returns, in worlds that are enumerated."""

import pytest

from ketchup.estimators import Numbers, estimator
from ketchup.maths.tabular import random_world

WORLDS = [random_world(seed) for seed in range(30)]


def gradient(world, name):
    """E g of a row without baseline, every rollout with its probability."""
    listed, probabilities = world.listed()
    returns = estimator(name).returns(Numbers(listed.mask, 1, **world.known(listed)), "raw")
    return (probabilities[:, None] * world.gradients(listed, returns).flatten(1)).sum(0)


def cosine(world, name):
    row, whole = gradient(world, name), gradient(world, "llmr")
    return float(row @ whole / (row.norm() * whole.norm()))


@pytest.mark.parametrize("k", [2, 3, 4])
def test_without_noise_it_points_nearer_than_the_segment_tail_in_most_worlds(k):
    """Not in all: it is no law."""
    nearer = [cosine(world, f"shrink:{1 / k}") > cosine(world, f"k-step:{k}") for world in WORLDS]
    assert sum(nearer) >= 0.8 * len(WORLDS)
