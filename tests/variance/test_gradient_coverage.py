"""How often intervals of what is said of gradients hold the truth, in worlds whose every rollout can be listed."""

from collections import Counter

import pytest
import torch

from ketchup.estimators import Numbers, estimator
from ketchup.maths.tabular import random_world
from ketchup_eval.variance.gradient.quality import Measured, qualities
from ketchup_eval.variance.gradient.rows import GradientRows, rows_of

SIMULATIONS, INPUTS, SAMPLES, BATCH = 500, 128, 4, 256
WORLDS = [random_world(seed) for seed in range(6)]
"""Six inputs, equally likely, whose states share no weight but their places."""
ROWS = GradientRows(rows_of([estimator("k-step:2")], ["leave-one-out-per-step"]), "raw")
NAMES = list(ROWS.measured)
LLMR, K_STEP = ROWS.asked


def gradients(world, samples, of_input):
    """Of the rows' weights, [M, R, D]; rollouts of an input are neighbours, `of_input` of them."""
    weights = ROWS.weights(NAMES, Numbers(samples.mask, of_input, **world.known(samples)))
    return torch.stack([world.gradients(samples, row).flatten(1) for row in weights])


def simulated(generator, inputs):
    """What a study of so many inputs would have measured."""
    chosen = torch.randint(len(WORLDS), (inputs,), generator=generator)
    size = WORLDS[0].student_logits().numel()
    means, squares = torch.zeros(len(NAMES), inputs, size), torch.zeros(len(NAMES), inputs)
    for index, world in enumerate(WORLDS):
        here = (chosen == index).nonzero()[:, 0]
        drawn = world.sample(len(here) * SAMPLES, generator)
        found = gradients(world, drawn, SAMPLES).unflatten(1, (-1, SAMPLES))
        means[:, here], squares[:, here] = found.mean(2).float(), found.square().sum(3).mean(2).float()
    return Measured(
        ROWS, dict(zip(NAMES, means.numpy(), strict=True)), dict(zip(NAMES, squares.double().numpy(), strict=True))
    )


def exact(estimator):
    """E g of its returns, every rollout with its probability; an unbiased baseline leaves it as it is."""
    total = 0
    for world in WORLDS:
        listed, probabilities = world.listed()
        returns = estimator.returns(Numbers(listed.mask, 1, **world.known(listed)), "raw")
        total = total + (probabilities[:, None] * world.gradients(listed, returns).flatten(1)).sum(0) / len(WORLDS)
    return total


@pytest.fixture(scope="module")
def truth():
    """E‖g‖² depends on the other samples of an input through the baseline: it is measured, on 200,000 inputs."""
    g, aim = exact(K_STEP.estimator), exact(LLMR.estimator)
    many = simulated(torch.Generator().manual_seed(1), 200_000)
    norm, square = float(g @ g), float(many.squares[K_STEP.signature("raw")].mean())
    angle = float(g @ aim / (g.norm() * aim.norm()))
    return {
        "squared_norm": norm,
        "relative_bias": float((g - aim).norm() / aim.norm()),
        "noise": square - norm,
        "signal_to_noise": norm / (square - norm),
        "noise_scale": (square - norm) / norm,
        "cosine": angle,
        "cosine at 8": angle / (1 + (square / norm - 1) / 8) ** 0.5,
        "cosine at 256": angle / (1 + (square / norm - 1) / 256) ** 0.5,
    }


def test_intervals_hold_the_truth_in_95_of_100_studies(truth):
    """Within 2 of 100, in 500 studies of 96 inputs with 4 rollouts each."""
    held, generator = Counter(), torch.Generator().manual_seed(0)
    for _ in range(SIMULATIONS):
        row = qualities(simulated(generator, INPUTS), BATCH)[1]
        for name, value in truth.items():
            size = name.removeprefix("cosine at ")
            found = row.batch_cosine[int(size)] if size != name else getattr(row, name)
            held[name] += found.low <= value <= found.high
    shares = {name: held[name] / SIMULATIONS for name in truth}
    assert {name: share for name, share in shares.items() if not 0.93 <= share <= 0.97} == {}, shares
