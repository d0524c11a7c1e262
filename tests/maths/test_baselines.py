"""Baselines against literal loops, over processes, and for what they are meant to do: less variance."""

import math

import pytest
import torch
from hypothesis import given, settings

from ketchup.maths.baselines import mean_baseline, mean_per_step_baseline, min_variance_baseline, score_norms
from ketchup.maths.tabular import random_world
from tests.maths.strategies import batches

few = settings(max_examples=60, deadline=None)


def alone(total):
    return total


@few
@given(batches())
def test_means_are_literal_and_see_no_padding(batch):
    returns = batch.q
    flat = [x for q, _ in batch.rows for x in q]
    assert mean_baseline(returns, batch.mask, alone).item() == pytest.approx(sum(flat) / len(flat))
    found = mean_per_step_baseline(returns, batch.mask, alone)
    assert found.shape == (batch.mask.shape[1],)
    for t, value in enumerate(found.tolist()):
        column = [q[t] for q, _ in batch.rows if len(q) > t]
        assert value == pytest.approx(sum(column) / len(column) if column else 0, abs=1e-9)


@few
@given(batches())
def test_min_variance_weighs_by_the_squared_norm(batch):
    norms = torch.where(batch.mask, (batch.v - batch.q).abs() + 0.1, math.nan)
    pairs = [(v - q + 0.1, q) for qs, vs in batch.rows for q, v in zip(qs, vs, strict=True)]
    literal = sum(n * g for n, g in pairs) / sum(n for n, _ in pairs)
    assert min_variance_baseline(batch.q, batch.mask, norms, alone).item() == pytest.approx(literal)


@pytest.mark.parametrize("name", ["mean", "mean-per-step", "min-variance"])
def test_a_batch_in_two_processes_has_one_baseline(name):
    """`total` adds the other half's sums; lengths of rows may differ."""
    generator = torch.Generator().manual_seed(0)
    returns = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor([5, 2, 3, 1, 4, 2])[:, None]
    norms = torch.rand(6, 5, generator=generator, dtype=torch.float64)
    sent = []

    def baseline(rows, width, total):
        given = (returns[rows, :width], mask[rows, :width])
        if name == "min-variance":
            return min_variance_baseline(*given, norms[rows, :width], total)
        return {"mean": mean_baseline, "mean-per-step": mean_per_step_baseline}[name](*given, total)

    def send(sums):
        sent.append(sums)
        return sums

    def with_the_other(sums):
        other = sent.pop(0)
        return sums + (torch.nn.functional.pad(other, (0, len(sums) - len(other))) if sums.dim() else other)

    baseline(slice(3, 6), 4, send)
    found = baseline(slice(0, 3), 5, with_the_other)
    torch.testing.assert_close(found, baseline(slice(None), 5, alone))


def test_nothing_to_average_is_a_baseline_of_zero():
    none = torch.zeros(2, 3, dtype=torch.bool)
    values = torch.full((2, 3), math.nan)
    assert mean_baseline(values, none, alone) == 0
    assert mean_per_step_baseline(values, none, alone).tolist() == [0, 0, 0]
    assert min_variance_baseline(values, none, values, alone) == 0


def test_score_norms_are_those_of_autograd():
    logits = torch.tensor([0.3, -1.0, 2.0, 0.1], dtype=torch.float64, requires_grad=True)
    pi = logits.softmax(-1).detach()
    for action in range(4):
        (gradient,) = torch.autograd.grad(logits.log_softmax(-1)[action], logits)
        assert score_norms(pi[action].log(), pi.square().sum()).item() == pytest.approx(gradient.square().sum().item())


def test_baselines_lower_the_variance_of_the_gradient_and_the_min_variance_one_the_most():
    """In the tabular world, where every norm is exact: trace of the covariance of one-action gradients."""
    world = random_world(3)
    samples = world.sample(4000, torch.Generator().manual_seed(0))
    from ketchup.maths.returns import k_step_returns

    returns = k_step_returns(samples.q, samples.v, samples.mask, 1)
    pi = world.student_logits().softmax(-1)[samples.states]
    norms = score_norms(pi.gather(-1, samples.actions[..., None])[..., 0].log(), pi.square().sum(-1))

    def second_moment(b):
        """Σ of ‖(Ĝ - b) ∇ log π‖² over all actions: the mean does not move, so this is what varies."""
        return torch.where(samples.mask, norms * (returns - b) ** 2, 0).sum().item()

    best = min_variance_baseline(returns, samples.mask, norms, alone).item()
    mean = mean_baseline(returns, samples.mask, alone).item()
    assert second_moment(best) < second_moment(mean) < second_moment(0)
    for other in (best - 0.3, best + 0.3):
        assert second_moment(best) < second_moment(other)
