"""Gradients by the head of models whose logits are more than W h: capped, scaled, with a bias, of a tied head.

The independent side is transformers alone: full logits of a network loaded by itself, autograd to its head.
"""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from ketchup.models.loading import load
from ketchup_eval.variance.gradient.of_rollouts import HeadGradients, InputRollouts, gradients
from tests import zoo

KINDS = ("Gemma 2", "Gemma 4", "Cohere 2", "Granite", "Marian", "T5", "GPT-2", "Llama, tied", "RWKV")
"""A cap; a cap of a part; a factor; a divisor; a bias; a scaled state; tied heads; a model that shares no prompt."""
PROMPT, ROWS, LENGTH = [4, 7, 5], 2, 5


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    return zoo.save(request.param, tmp_path / "model", seed=3)


def literal(folder, tokens, weights):
    """Mean gradient and squared norm of each row of weights [M, N, T], a backward pass each."""
    kind = AutoModelForSeq2SeqLM if folder_is_pair(folder) else AutoModelForCausalLM
    network = kind.from_pretrained(folder, dtype=torch.float32).eval()
    head = network.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())  # no longer tied: its own share alone
    means, squares = [], []
    for row in weights:
        found = []
        for ids, own in zip(tokens, row, strict=True):
            if network.config.is_encoder_decoder:
                before = torch.tensor([[network.config.decoder_start_token_id, *ids[:-1]]])
                full = network(input_ids=torch.tensor([PROMPT]), decoder_input_ids=before, use_cache=False).logits[0]
            else:
                read = torch.tensor([[*PROMPT, *ids[:-1]]])
                full = network(input_ids=read, use_cache=False).logits[0, len(PROMPT) - 1 :]
            log_pi = full.log_softmax(-1)[torch.arange(len(ids)), torch.tensor(ids)]
            (gradient,) = torch.autograd.grad((log_pi * own).sum(), [head.weight])
            found.append(gradient.flatten().double())
        stacked = torch.stack(found)
        means.append(stacked.mean(0))
        squares.append(stacked.square().sum(1).mean())
    return torch.stack(means), torch.stack(squares)


def folder_is_pair(folder):
    return '"is_encoder_decoder": true' in (folder / "config.json").read_text()


def test_the_head_is_that_of_a_plain_forward_pass(folder):
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, zoo.SIZE, (3, LENGTH), generator=generator).tolist()
    weights = torch.randn(ROWS, 3, LENGTH, generator=generator, dtype=torch.float64)
    student = load(str(folder))
    rollouts = InputRollouts(PROMPT, tokens, [[True] * LENGTH] * 3)
    mean, squares = gradients(student, "head", 0, 10**9).of(rollouts, weights)
    expected, norms = literal(folder, tokens, weights)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(mean, expected[:, : mean.shape[1]], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(squares, norms, atol=1e-5, rtol=1e-3)


def test_a_cap_matters_here(tmp_path, monkeypatch):
    """Or the test above says nothing of it: without what it takes back, a capped model has other gradients."""
    student = load(str(zoo.save("Gemma 2", tmp_path / "model", seed=3)))
    rollouts = InputRollouts(PROMPT, [[4, 5, 6]], [[True] * 3])
    weights = torch.ones(1, 1, 3, dtype=torch.float64)
    taken = HeadGradients(student, 0, 10**9)
    right, _ = taken.of(rollouts, weights)
    monkeypatch.setattr("ketchup_eval.variance.gradient.of_rollouts.logit_cap", lambda model: None)
    wrong, _ = taken.of(rollouts, weights)
    assert (right - wrong).abs().max() > 0.05 * right.abs().max()
