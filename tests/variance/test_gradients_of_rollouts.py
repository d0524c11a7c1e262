"""Gradients of rollouts for many rows at once, against one backward pass of each rollout and row."""

import pytest
import torch

from ketchup.errors import ModelError, UsageError
from ketchup.models.language_model import context, hidden_states, logits
from ketchup_eval.variance.gradient import of_rollouts
from ketchup_eval.variance.gradient.of_rollouts import (
    HeadGradients,
    InputRollouts,
    WeightGradients,
    check_memory,
    gradients,
)
from tests import tiny

ROLLOUTS = InputRollouts(
    [2, 3, 4],
    [[4, 5, 2, 1], [3, 1], [5, 5, 5, 5, 5], [1]],
    [[True, True, True, True], [True, True], [True, False, False, True, True], [True]],  # two that a calculator wrote
)
ROWS, WIDTH = 3, 4
SHORT, EXACT = 64, 10**9


@pytest.fixture(params=tiny.KINDS)
def student(request):
    return tiny.language_model(request.param, seed=2)


@pytest.fixture
def weights():
    return torch.randn(ROWS, 4, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def literal(student, weights, parameters):
    """Mean gradient and mean squared norm of each row, by a backward pass of each rollout's weighted sum."""
    for parameter in student.network.parameters():
        parameter.requires_grad_()
    means, squares = [], []
    for row in weights:
        found = []
        for tokens, actions, own in zip(ROLLOUTS.tokens, ROLLOUTS.action_mask, row, strict=True):
            shared = context(student, [ROLLOUTS.prompt])
            hidden = hidden_states(student, shared, torch.tensor([0]), torch.tensor([tokens]))
            if len(parameters) == 1:
                hidden = hidden.detach()  # a tied embedding has a share of its own
            log_pi = logits(student, hidden)[0].log_softmax(-1).gather(-1, torch.tensor(tokens)[:, None])[:, 0]
            kept = torch.tensor(actions)
            loss = (log_pi[kept] * own[: kept.sum()]).sum()
            found.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]).double())
        stacked = torch.stack(found)
        means.append(stacked.mean(0))
        squares.append(stacked.square().sum(1).mean())
    return torch.stack(means), torch.stack(squares)


def test_the_head_without_building_gradients(student, weights):
    mean, squares = HeadGradients(student, 0).of(ROLLOUTS, weights)
    head = student.network.get_output_embeddings().weight
    expected, norms = literal(student, weights, [head])
    rows = expected.reshape(ROWS, *head.shape)[:, : student.vocabulary].reshape(ROWS, -1)
    torch.testing.assert_close(mean, rows, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(squares, norms, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("where", ["all", "last-block"])
def test_any_weights(student, weights, where):
    found = WeightGradients(student, where, 0)
    expected, norms = literal(student, weights, found.weights)
    mean, squares = found.of(ROLLOUTS, weights)
    torch.testing.assert_close(mean, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(squares, norms, atol=1e-5, rtol=1e-4)
    assert (found.length < sum(w.numel() for w in student.network.parameters())) == (where == "last-block")


def test_the_head_by_its_name_is_the_head(weights):
    student = tiny.language_model("llama", seed=2)
    by_name, squares = gradients(student, "lm_head.*", 0).of(ROLLOUTS, weights)
    mean, exact = gradients(student, "head", 0).of(ROLLOUTS, weights)
    torch.testing.assert_close(by_name, mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(squares, exact, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("where", ["head", "all"])
def test_sketches_have_the_products_of_what_they_stand_for(student, weights, where):
    """Over 30 seeds: right on average, and within the error that is stated."""
    exact, norms = gradients(student, where, 0, EXACT).of(ROLLOUTS, weights)
    short = [gradients(student, where, seed, SHORT).of(ROLLOUTS, weights) for seed in range(30)]
    true = exact @ exact.T
    found = torch.stack([mean @ mean.T for mean, _ in short])
    size = true.diagonal().sqrt()
    error = (found - true) / (size[:, None] * size)
    assert all(mean.shape[1] == SHORT for mean, _ in short)
    assert error.mean(0).abs().max() < 4 * error.std(0).max() / 30**0.5
    assert 0 < error.square().mean().sqrt() < 2 / SHORT**0.5
    torch.testing.assert_close(short[0][1], norms, atol=1e-6, rtol=1e-5)


def test_only_what_is_longer_is_shortened():
    student = tiny.language_model("llama", seed=2)
    head, everything = 6 * 16, sum(weight.numel() for weight in student.network.parameters())
    for where, length in (("head", head), ("all", everything)):
        assert gradients(student, where, 0).length == length
        kept = {asked: gradients(student, where, 0, asked).kept for asked in (None, 64, EXACT)}
        short = length if length <= of_rollouts.EXACT_LENGTH else of_rollouts.SHORT
        assert kept == {None: short, 64: 64, EXACT: length}


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("nothing", r"use head, last-block, all, or a pattern of names such as model\.embed_tokens\.weight, "),
        ("", "use head, last-block, all, or a pattern"),
        ("heads", r"did you mean head\.$"),
        ("lastblock", r"did you mean last-block\.$"),
        ("model.layers.0", r"model\.layers\.0\.\* matches 9\.$"),
        ("lm_head.weights", r"did you mean lm_head\.weight\.$"),
    ],
)
def test_a_pattern_that_matches_nothing(pattern, hint):
    student = tiny.language_model("llama")
    with pytest.raises(UsageError, match=f"--gradient-of '{pattern}' matches no weight of .*; {hint}"):
        gradients(student, pattern, 0)


def test_too_little_memory_for_whole_gradients(monkeypatch):
    """50 inputs, 8 at once, 10 rows of 10^5 numbers: 10 (50 + 24 + 3) + 400 vectors of 0.4 MB."""
    student = tiny.language_model("llama", seed=2)
    found = gradients(student, "all", 0, EXACT)
    found.kept = 10**5
    monkeypatch.setattr(of_rollouts, "free_bytes", lambda device: 468_000_000)
    check_memory(found, 50, 8, 10)
    monkeypatch.setattr(of_rollouts, "free_bytes", lambda device: 467_000_000)
    with pytest.raises(
        ModelError, match=r"50 inputs for 10 rows, 100,000 numbers each, need 0\.5 GB and 0\.5 GB are free"
    ):
        check_memory(found, 50, 8, 10)
    with pytest.raises(ModelError, match=r"; use --projection 4096 or a smaller --limit\.$"):
        check_memory(found, 50, 8, 10)
    found.kept = 4096
    monkeypatch.setattr(of_rollouts, "free_bytes", lambda device: 10**6)
    with pytest.raises(ModelError, match=r"are free; use a smaller --limit\.$"):
        check_memory(found, 50, 8, 10)
