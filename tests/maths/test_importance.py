"""Importance ratios between two policies of a world that is enumerated: exact expectations under each."""

import math
from dataclasses import replace

import pytest
import torch

from ketchup.maths.importance import divergence, effective_share, log_ratios, truncated_ratios
from ketchup.maths.tabular import random_world
from tests import reference


@pytest.fixture(scope="module")
def worlds():
    """A student and, of the same teacher, the policy that is drawn from in its place."""
    student = random_world(3)
    generator = torch.Generator().manual_seed(4)
    noise = {state: 0.4 * torch.randn(student.vocabulary, generator=generator) for state in student.states}
    moved = {state: (torch.tensor(student.student[state]) + noise[state]).tolist() for state in student.states}
    return student, replace(student, student=moved)


@pytest.fixture(scope="module")
def listed(worlds):
    """All rollouts: log π, log μ, which are actions, and the probability of each under μ."""
    student, sampler = worlds
    samples, probabilities = sampler.listed()
    log_prob, sampler_log_prob = (world.known(samples)["log_prob"] for world in (student, sampler))
    return log_prob, sampler_log_prob, samples.mask, probabilities


def full_return(world, rollout):
    return reference.reward_to_go(*world.values(rollout))[0]


def test_weighted_by_their_ratios_draws_have_the_expectations_of_the_other_policy(worlds, listed):
    student, _ = worlds
    log_prob, sampler_log_prob, mask, mu = listed
    w = log_ratios(log_prob, sampler_log_prob, mask).exp()
    assert float((mu * w).sum()) == pytest.approx(1)
    returns = torch.tensor([full_return(student, r) for r in student.rollouts], dtype=torch.float64)
    exact = student.expectation(lambda r: full_return(student, r))
    assert float((mu * w * returns).sum()) == pytest.approx(exact)
    assert abs(float((mu * returns).sum()) - exact) > 0.1


def test_divergence_is_kl_in_expectation_and_never_negative(worlds, listed):
    """Of whole rollouts, Σ μ log(μ / π): the chain rule adds up the divergences of states."""
    student, sampler = worlds
    log_prob, sampler_log_prob, mask, mu = listed
    each = torch.where(mask, divergence(log_prob, sampler_log_prob), 0)
    assert (each >= 0).all()
    chances = [(sampler.probability(r), student.probability(r)) for r in student.rollouts]
    exact = sum(drawn * math.log(drawn / scored) for drawn, scored in chances)
    assert float((mu * each.sum(1)).sum()) == pytest.approx(exact)


def test_effective_share_and_truncation_by_hand():
    w = torch.tensor([[1.0, 1.0, 1.0, 1.0], [4.0, 0.5, 0.5, 1.0]], dtype=torch.float64)
    assert effective_share(w.log()).tolist() == pytest.approx([1, 36 / (4 * 17.5)])
    assert effective_share(w.log() + 500).tolist() == pytest.approx([1, 36 / (4 * 17.5)])
    assert truncated_ratios(w.log(), 4)[1].tolist() == pytest.approx([2, 0.5, 0.5, 1])


def test_the_bound_of_what_a_mismatch_moves(worlds, listed):
    """|E_μ[x] - E_π[x]| ≤ √(1/s - 1) sd_μ[x], s being the exact effective share; for every action's chance as x."""
    log_prob, sampler_log_prob, mask, mu = listed
    w = log_ratios(log_prob, sampler_log_prob, mask).exp()
    share = 1 / float((mu * w**2).sum())
    for x in (mask.sum(1).double(), torch.where(mask, log_prob, 0).sum(1), w):
        moved = abs(float((mu * (w - 1) * x).sum()))
        deviation = float((mu * x**2).sum() - (mu * x).sum() ** 2) ** 0.5
        assert moved <= (1 / share - 1) ** 0.5 * deviation + 1e-9
    assert moved == pytest.approx((1 / share - 1) ** 0.5 * deviation)  # it is reached by w itself
