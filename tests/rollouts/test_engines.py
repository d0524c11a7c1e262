"""Both engines draw from the student's own distribution: exact probabilities of every output of a tiny model."""

from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from ketchup.errors import ModelError, UsageError
from ketchup.rollouts import ctranslate2_engine
from ketchup.rollouts.engines import engine
from ketchup.rollouts.types import Decoding
from tests import tiny

PROMPTS = [[2, 3, 4, 5, 2, 1], [5, 3], [4, 4, 2]]
ENGINES = ("ctranslate2", "transformers")
LIMIT = 3


def assert_drawn_from(rows, exact):
    """Chi-square of the counts, outputs that are expected fewer than five times pooled."""
    counts = Counter(map(tuple, rows))
    assert set(counts) <= set(exact)
    total = len(rows)
    common = [output for output, probability in exact.items() if probability * total >= 5]
    observed = [counts[output] for output in common]
    expected = [exact[output] * total for output in common]
    rest = total - sum(expected)
    if rest >= 5:
        observed.append(total - sum(observed))
        expected.append(rest)
    scale = sum(observed) / sum(expected)
    assert len(common) > 10
    assert chisquare(observed, [value * scale for value in expected]).pvalue > 1e-4


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_samples_follow_the_students_distribution_with_prompts_of_different_length(kind, name):
    model = tiny.language_model(kind, padding_rows=3)
    samples = 3000
    rows = engine(name, model).sample(PROMPTS, None, samples, Decoding(LIMIT), seed=1)
    for index, prompt in enumerate(PROMPTS):
        exact = tiny.sequence_probabilities(model, prompt, LIMIT)
        assert sum(exact.values()) == pytest.approx(1)
        assert_drawn_from(rows[index * samples : (index + 1) * samples], exact)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_temperature_and_top_k_shape_the_distribution(kind, name):
    model = tiny.language_model(kind)
    rows = engine(name, model).sample(PROMPTS[:1], None, 4000, Decoding(1, temperature=2.0, top_k=3), seed=2)
    best = (tiny.next_logits(model, PROMPTS[0], []) / 2).topk(3)
    counts = Counter(row[0] for row in rows)
    assert set(counts) == set(best.indices.tolist())
    for token, share in zip(best.indices.tolist(), best.values.softmax(-1).tolist(), strict=True):
        assert counts[token] / 4000 == pytest.approx(share, abs=4 * (share * (1 - share) / 4000) ** 0.5)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_prefixes_of_different_length_are_continued_from_their_own_state(kind, name):
    model = tiny.language_model(kind)
    prefixes = [[3], [], [2, 5]]
    samples = 2000
    rows = engine(name, model).sample(PROMPTS, prefixes, samples, Decoding(LIMIT), seed=3)
    for index, (prompt, prefix) in enumerate(zip(PROMPTS, prefixes, strict=True)):
        mine = rows[index * samples : (index + 1) * samples]
        assert max(len(row) for row in mine) == LIMIT - len(prefix)
        counts = Counter(row[0] for row in mine)
        for token, share in enumerate(tiny.next_logits(model, prompt, prefix).softmax(-1).tolist()):
            assert counts[token] / samples == pytest.approx(
                share, abs=4 * (share * (1 - share) / samples) ** 0.5 + 1e-3
            )


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_rows_end_with_eos_or_at_the_limit(kind, name):
    model = tiny.language_model(kind)
    rows = engine(name, model).sample(PROMPTS, None, 300, Decoding(4), seed=4)
    assert {len(row) for row in rows if row[-1] != model.eos_id} == {4}
    assert min(len(row) for row in rows) == 1
    assert all(model.eos_id not in row[:-1] for row in rows)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_greedy_takes_the_likeliest_token(kind, name):
    model = tiny.language_model(kind)
    rows = engine(name, model).sample(PROMPTS, None, 1, Decoding(5, temperature=0), seed=0)
    for prompt, row in zip(PROMPTS, rows, strict=True):
        for place, token in enumerate(row):
            assert token == int(tiny.next_logits(model, prompt, row[:place]).argmax())


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_the_same_seed_gives_the_same_rows_and_another_does_not(kind, name):
    runner = engine(name, tiny.language_model(kind))
    first, again, other = (runner.sample(PROMPTS, None, 50, Decoding(6), seed=seed) for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_after_an_update_samples_follow_the_new_weights(kind, name):
    model = tiny.language_model(kind, seed=0)
    runner = engine(name, model)
    model.network.load_state_dict(tiny.network(kind, model.vocabulary, seed=5).state_dict())
    runner.update(model)
    rows = runner.sample(PROMPTS[:1], None, 3000, Decoding(2), seed=5)
    assert_drawn_from(rows, tiny.sequence_probabilities(model, PROMPTS[0], 2))


def test_sampling_leaves_torchs_random_state_alone():
    runner = engine("transformers", tiny.language_model("llama"))
    before = torch.random.get_rng_state()
    runner.sample(PROMPTS, None, 2, Decoding(2), seed=1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_converter_leaves_the_model_whole():
    model = tiny.language_model("llama")
    before = tiny.next_logits(model, PROMPTS[0], [])
    engine("ctranslate2", model)
    assert torch.equal(before, tiny.next_logits(model, PROMPTS[0], []))


def test_a_converter_that_misreads_the_model_is_found_out(monkeypatch):
    model = tiny.language_model("llama")
    with torch.no_grad():
        for layer in model.network.model.layers:
            layer.self_attn.q_proj.weight.mul_(20)  # sharp attention, which positions decide

    def with_another_rope(model):
        shadow = real(model)
        shadow.config.rope_parameters = {"rope_type": "default", "rope_theta": 3.0}
        return shadow

    real = ctranslate2_engine._shadow
    monkeypatch.setattr(ctranslate2_engine, "_shadow", with_another_rope)
    with pytest.raises(ModelError, match=r"other probabilities than torch.*--engine transformers"):
        engine("ctranslate2", model)


def test_ctranslate2_is_the_default_where_it_can_and_refused_where_not():
    model = tiny.language_model("t5")
    assert engine("auto", model).name == "ctranslate2"
    model.network.to(torch.bfloat16)
    assert engine("auto", model).name == "transformers"
    with pytest.raises(UsageError, match="--engine transformers"):
        engine("ctranslate2", model)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"max_new_tokens": 0}, "max-new-tokens"), ({"temperature": -1}, "temperature"), ({"top_k": -1}, "top-k")],
)
def test_decoding_refuses_what_cannot_be(settings, words):
    with pytest.raises(UsageError, match=words):
        Decoding(**{"max_new_tokens": 5, **settings})
