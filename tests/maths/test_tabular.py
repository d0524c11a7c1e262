"""The estimators in a world whose expectations are known exactly, and that world itself."""

import math

import pytest
import torch

from ketchup.maths.returns import implied_baseline, k_step_returns
from ketchup.maths.tabular import EOS, World, random_world
from tests import reference
from tests.maths.strategies import TAILS

SIGMAS = 4
ROLLOUTS = 100_000
CHOICES = [(1, "segment"), (2, "segment"), (2, "one-step"), (3, "segment"), (3, "one-step")]


@pytest.fixture(scope="module")
def world():
    return random_world(seed=1)


@pytest.fixture(scope="module")
def samples(world):
    return world.sample(ROLLOUTS, torch.Generator().manual_seed(11))


def z_score(found, truth, variance_of_one, n):
    return abs(found - truth) / math.sqrt(variance_of_one / n)


# The world


def test_the_listed_rollouts_are_all_there_are(world):
    # Two tokens that go on: 1 + 2 + 4 + 8 end with EOS, 16 are cut off at the horizon of four.
    assert len(set(world.rollouts)) == len(world.rollouts) == 15 + 16
    assert sum(map(world.probability, world.rollouts)) == pytest.approx(1)
    assert 0.05 < world.expectation(lambda r: r[-1] != EOS) < 0.95


def test_a_world_by_hand():
    # One state; EOS with probability 1/4 is the teacher's choice, worth 1; the other token is cut off, worth -2.
    tiny = World(2, 1, teacher={(): [1.0, -2.0]}, student={(): [0.0, math.log(3)]})
    value = {r: reference.returns_in(tiny, r, 1, "segment")[0] for r in tiny.rollouts}
    assert value == {(0,): 1.0, (1,): -2.0}
    assert tiny.expectation(value.get) == pytest.approx(1 / 4 - 2 * 3 / 4)
    assert tiny.central_moment(value.get) == pytest.approx(3 / 16 * 9)
    # J = π(0) - 2 π(1) and dπ(0)/dz_0 = π(0) π(1).
    gradient = tiny.policy_gradient(lambda r: [value[r]])
    assert gradient.flatten().tolist() == pytest.approx([9 / 16, -9 / 16])


def test_sampled_rollouts_have_their_probabilities(world, samples):
    found = {}
    for row, n in zip(samples.actions.tolist(), samples.mask.sum(1).tolist(), strict=True):
        found[tuple(row[:n])] = found.get(tuple(row[:n]), 0) + 1
    assert set(found) <= set(world.rollouts)
    for rollout in world.rollouts:
        p = world.probability(rollout)
        assert z_score(found.get(rollout, 0) / ROLLOUTS, p, p * (1 - p), ROLLOUTS) < SIGMAS


# Estimates of the return


@pytest.mark.parametrize("t", [0, 1, 3])
@pytest.mark.parametrize(("k", "tail"), CHOICES)
def test_mean_variance_and_bias_of_sampled_returns(world, samples, k, tail, t):
    alive = samples.mask[:, t]
    estimate = k_step_returns(samples.q, samples.v, samples.mask, k, tail)[alive, t]
    bias = -implied_baseline(samples.q, samples.v, samples.mask, k, tail)[alive, t]
    n = int(alive.sum())

    def g_hat(rollout):
        return reference.returns_in(world, rollout, k, tail)[t]

    def gap(rollout):
        return g_hat(rollout) - reference.returns_in(world, rollout, 1, tail)[t]

    variance = world.central_moment(g_hat, t=t)
    spread_of_squares = world.central_moment(g_hat, order=4, t=t) - variance**2
    assert z_score(estimate.mean().item(), world.expectation(g_hat, t), variance, n) < SIGMAS
    assert z_score(estimate.var().item(), variance, spread_of_squares, n) < SIGMAS
    assert abs(bias.mean().item() - world.expectation(gap, t)) <= SIGMAS * math.sqrt(world.central_moment(gap, t=t) / n)


# The policy gradient


def test_full_returns_give_the_gradient_of_the_expected_return(world):
    logits = world.student_logits().requires_grad_()
    world.expected_return(logits).backward()
    for tail in TAILS:
        torch.testing.assert_close(
            world.policy_gradient(lambda r, tail=tail: reference.returns_in(world, r, 1, tail)), logits.grad
        )


@pytest.mark.parametrize(("k", "tail"), CHOICES[1:])
def test_k_step_returns_add_the_predicted_bias_to_it(world, k, tail):
    logits = world.student_logits().requires_grad_()
    world.expected_return(logits).backward()
    bias = world.policy_gradient(lambda r: reference.returns_in(world, r, k, tail)) - logits.grad
    # Eq. 26: E[-b_t ∇ log π(a_t | s_t)], b_t the sum of the skipped advantages.
    predicted = world.policy_gradient(
        lambda r: [-b for b in reference.skipped_advantages(*world.values(r), k, tail)],
    )
    torch.testing.assert_close(bias, predicted)
    assert bias.abs().max() > 0.01


@pytest.mark.parametrize(("k", "tail"), CHOICES)
def test_a_gauge_moves_no_expected_gradient(world, k, tail):
    other = world.shifted(torch.Generator().manual_seed(2))
    gradient = world.policy_gradient(lambda r: reference.returns_in(world, r, k, tail))
    torch.testing.assert_close(other.policy_gradient(lambda r: reference.returns_in(other, r, k, tail)), gradient)


@pytest.mark.parametrize(("k", "tail"), CHOICES)
def test_a_gauge_moves_the_variance_of_later_returns_only(world, k, tail):
    other = world.shifted(torch.Generator().manual_seed(4))

    def variance(of, t):
        return of.central_moment(lambda r: reference.returns_in(of, r, k, tail)[t], t=t)

    assert variance(other, 0) == pytest.approx(variance(world, 0))
    assert variance(other, 1) > 10 * variance(world, 1)


@pytest.mark.parametrize(("k", "tail"), CHOICES)
def test_sampled_gradients_agree_with_the_exact_one(world, samples, k, tail):
    weights = k_step_returns(samples.q, samples.v, samples.mask, k, tail)
    gradients = world.gradients(samples, weights)
    exact = world.policy_gradient(lambda r: reference.returns_in(world, r, k, tail))
    error = (gradients.mean(0) - exact).abs() / (gradients.std(0) / math.sqrt(ROLLOUTS))
    assert (error < SIGMAS).all()
