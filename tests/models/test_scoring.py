"""The chunked pass against the plainest one: a full forward per prefix, without padding, cache or batches."""

import math

import pytest
import torch

from ketchup.models import scoring
from ketchup.models.language_model import context, hidden_states, logits, pad
from ketchup.models.scoring import log_probs, row_chunks, score
from tests import tiny

PROMPTS = [[2, 3, 4, 5, 2], [5], [4, 1, 2]]
ROLLOUTS = [[3, 4, 1], [5, 5, 5, 2], [1], [2, 1], [4, 3, 2, 1], [5, 2, 3]]
"""Two of each prompt: ended, truncated, eos at once."""


def models(kind):
    return tiny.language_model(kind, seed=0), tiny.language_model(kind, seed=1, padding_rows=2)


def literal(teacher, student, prompt, row):
    """q, v, mean, logsumexp, log π, KL, entropy, collision, Ē of each action, one position at a time in float64."""
    values = []
    for place, action in enumerate(row):
        p = tiny.next_logits(teacher, prompt, row[:place])
        pi = tiny.next_logits(student, prompt, row[:place]).log_softmax(-1)
        log_p = p.log_softmax(-1)
        kl = sum(float(log_p[a].exp() * (log_p[a] - pi[a])) for a in range(len(p)))
        entropy = -sum(float(pi[a].exp() * pi[a]) for a in range(len(p)))
        values.append(
            [
                p[action],
                p.max(),
                p.mean(),
                p.exp().sum().log(),
                pi[action],
                kl,
                entropy,
                sum(float(x) ** 2 for x in pi.exp()),
                sum(float(pi[a].exp() * p[a]) for a in range(len(p))),
            ]
        )
    return torch.tensor(values, dtype=torch.float64).T


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("chunked", [False, True])
def test_every_value_equals_the_literal_one(kind, chunked, monkeypatch):
    if chunked:
        monkeypatch.setattr(scoring, "PASS_TOKENS", 5)
        monkeypatch.setattr(scoring, "HEAD_BYTES", 4 * 6 * 3)
    teacher, student = models(kind)
    tokens, mask = pad(ROLLOUTS, teacher.pad_id)
    values = torch.stack([*vars(got := score(teacher, student, PROMPTS, tokens, mask)[0]).values()])
    values = torch.cat([values, torch.stack([*vars(score(teacher, student, PROMPTS, tokens, mask)[1]).values()])])
    assert got.q.shape == tokens.shape
    for index, row in enumerate(ROLLOUTS):
        expected = literal(teacher, student, PROMPTS[index // 2], row)
        torch.testing.assert_close(values[:, index, : len(row)].double(), expected, atol=2e-5, rtol=1e-5)
        assert (values[:, index, len(row) :] == 0).all()


@pytest.mark.parametrize(("temperature", "top_k"), [(0.5, 0), (1.0, 2), (2.0, 3), (0.0, 0)])
def test_log_prob_and_collision_are_those_of_the_distribution_that_was_sampled(temperature, top_k):
    """Softmax by hand of the student's logits over the temperature, within the top k and the action taken."""
    teacher, student = models("t5")
    tokens, mask = pad(ROLLOUTS, teacher.pad_id)
    plain = score(teacher, student, PROMPTS, tokens, mask)[1]
    found = score(teacher, student, PROMPTS, tokens, mask, temperature=temperature, top_k=top_k)[1]
    for index, row in enumerate(ROLLOUTS):
        for place, action in enumerate(row):
            logits = tiny.next_logits(student, PROMPTS[index // 2], row[:place]).tolist()
            best = sorted(range(len(logits)), key=lambda a: -logits[a])[: top_k or len(logits)]
            weights = {a: math.exp(logits[a] / (temperature or 1)) for a in {*best, action}}
            total = sum(weights.values())
            expected = [math.log(weights[action] / total), sum((w / total) ** 2 for w in weights.values())]
            assert [found.log_prob[index, place], found.collision[index, place]] == pytest.approx(expected, abs=2e-5)
    torch.testing.assert_close(found.entropy, plain.entropy)
    torch.testing.assert_close(found.kl, plain.kl)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_padding_to_the_right_and_another_prompt_in_the_batch_change_nothing(kind):
    teacher, student = models(kind)
    tokens, mask = pad(ROLLOUTS[:2], teacher.pad_id)
    alone = score(teacher, student, PROMPTS[:1], tokens, mask)[0]
    wide, wide_mask = pad([*ROLLOUTS[:2], [2] * 9, [3] * 7], teacher.pad_id)
    wide[0, 3:] = 4  # whatever stands in the padding
    beside = score(teacher, student, [PROMPTS[0], [3] * 8], wide, wide_mask)[0]
    torch.testing.assert_close(alone.q, beside.q[:2, : tokens.shape[1]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_tokens_of_the_environment_are_read_but_not_scored(kind):
    teacher, student = models(kind)
    tokens, mask = pad([[3, 4, 5, 2, 1], [3, 4, 5, 2, 1]], teacher.pad_id)
    holes = mask.clone()
    holes[:, 1:3] = False
    whole = score(teacher, student, PROMPTS[:1], tokens, mask)[0]
    partly = score(teacher, student, PROMPTS[:1], tokens, holes)[0]
    assert (partly.v[:, 1:3] == 0).all()
    torch.testing.assert_close(partly.v[holes], whole.v[holes], atol=1e-5, rtol=1e-5)
    other = tokens.clone()
    other[:, 1] = 2
    changed = score(teacher, student, PROMPTS[:1], other, holes)[0]
    assert not torch.allclose(changed.v[:, 3], partly.v[:, 3], atol=1e-3)


def test_equal_models_have_no_divergence():
    model = tiny.language_model("t5")
    tokens, mask = pad(ROLLOUTS, 0)
    student = score(model, model, PROMPTS, tokens, mask)[1]
    torch.testing.assert_close(student.kl, torch.zeros_like(student.kl), atol=1e-6, rtol=0)


def test_the_shared_prefix_and_the_joint_pass_agree():
    model = tiny.language_model("llama")
    actions, _ = pad(ROLLOUTS, 1)
    rows = torch.arange(6) // 2
    with torch.no_grad():
        shared = hidden_states(model, context(model, PROMPTS), rows, actions)
        joint = hidden_states(model, context(model, PROMPTS, shared=False), rows, actions)
    torch.testing.assert_close(shared, joint, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_the_head_is_put_back_and_never_applied_to_all_positions(kind):
    model = tiny.language_model(kind)
    head = model.network.get_output_embeddings()
    seen = []
    head.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    tokens, mask = pad(ROLLOUTS, model.pad_id)
    score(model, model, PROMPTS, tokens, mask)
    assert model.network.get_output_embeddings() is head
    assert sum(shape[0] for shape in seen) == 2 * int(mask.sum())
    assert all(len(shape) == 2 for shape in seen)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_log_probs_and_their_gradient_do_not_depend_on_the_chunks(kind, monkeypatch):
    model = tiny.language_model(kind)
    torch.manual_seed(0)
    states, actions = torch.randn(7, 16), torch.tensor([0, 1, 2, 3, 4, 5, 1])
    weight = model.network.get_output_embeddings().weight
    expected = logits(model, states).log_softmax(-1).gather(-1, actions[:, None])[:, 0]
    (gradient,) = torch.autograd.grad(expected.square().sum(), weight)
    monkeypatch.setattr(scoring, "HEAD_BYTES", 4 * 6 * 2)
    values = log_probs(model, states, actions)
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(torch.autograd.grad(values.square().sum(), weight)[0], gradient)


def test_row_chunks_hold_every_row_once_within_the_bound(monkeypatch):
    monkeypatch.setattr(scoring, "PASS_TOKENS", 12)
    lengths = [3, 9, 0, 1, 5, 5, 2]
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    chunks = [chunk.tolist() for chunk in row_chunks(mask, prefix=1)]
    assert sorted(row for chunk in chunks for row in chunk) == [0, 1, 3, 4, 5, 6]
    assert all(len(chunk) * (1 + max(lengths[row] for row in chunk)) <= 12 for chunk in chunks)
