"""What is found out when a model is loaded, and what is kept of it."""

import math
from dataclasses import replace

import pytest
import torch
from transformers import BertConfig, BertLMHeadModel, DynamicCache, MistralConfig, MistralForCausalLM

from ketchup.errors import ModelError
from ketchup.models import language_model, probe, scoring
from ketchup.models.loading import load
from ketchup.models.probe import LONGEST, Text, plain_logits, reach, relative_error, trial_texts, with_reading
from ketchup.models.scoring import score
from tests import tiny, zoo


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Nothing is kept, however slow the machine is, but where a test says so."""
    monkeypatch.setenv("KETCHUP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(probe, "SLOW", float("inf"))


@pytest.fixture
def mistral(tmp_path):
    return load(str(zoo.save("Mistral", tmp_path / "mistral")))


def test_a_cache_that_forgets_its_length_is_found_out(mistral, monkeypatch):
    """As one does that is rebuilt from keys and values: a sliding window has dropped the first ones."""

    def keys_and_values(cache, rows):
        kept = [(layer.keys[rows], layer.values[rows]) for layer in cache.layers]
        return DynamicCache(kept, config=mistral.network.config)

    monkeypatch.setattr(language_model, "_rows_of", keys_and_values)
    assert with_reading(mistral).reading == "joint"
    texts = trial_texts(mistral)
    plain = [plain_logits(mistral, text) for text in texts]
    assert probe._error(replace(mistral, reading="shared"), texts, plain) > 0.1


def test_a_tail_that_nobody_knows_is_left_to_the_network(tmp_path):
    """RecurrentGemma bounds its logits by a field of another name; here it does so by 5, and they reach 4."""
    model = load(str(zoo.save("RecurrentGemma", tmp_path)))
    assert model.reading == "whole"
    texts = trial_texts(model)
    plain = [plain_logits(model, text) for text in texts]
    assert probe._error(replace(model, reading="joint"), texts, plain) > 1e-3
    assert probe._error(model, texts, plain) < 1e-5


def test_the_network_applies_its_own_head_to_bounded_passes(tmp_path, monkeypatch):
    model = load(str(zoo.save("RecurrentGemma", tmp_path)))
    widths = []
    head = model.network.get_output_embeddings()
    head.register_forward_hook(lambda _module, _inputs, output: widths.append(output.shape[:2].numel()))
    monkeypatch.setattr(scoring, "WHOLE_BYTES", 4 * zoo.SIZE * 20)
    tokens = torch.randint(3, zoo.SIZE, (6, 4))
    score(model, model, [[5, 6, 7], [9] * 9], tokens, torch.ones_like(tokens, dtype=torch.bool))
    assert max(widths) <= 20
    assert len(widths) > 4


def test_a_network_that_sees_what_comes_later_is_refused(tmp_path):
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    network = BertLMHeadModel(BertConfig(**zoo.IDS, **sizes, is_decoder=False))
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    network.save_pretrained(tmp_path)
    zoo.tokenizer().save_pretrained(tmp_path)
    with pytest.raises(
        ModelError, match=r"other logits for texts in a batch than for each alone .*; use another model\.$"
    ):
        load(str(tmp_path))


def test_a_network_that_cannot_read_is_one_sentence(mistral, monkeypatch):
    def forward(*_, **__):
        raise RuntimeError("no kernel\nfor this")

    monkeypatch.setattr(mistral.network, "forward", forward)
    with pytest.raises(ModelError, match=r"cannot read a text \(no kernel\); use another model\.$"):
        with_reading(mistral)


# The texts


@pytest.mark.parametrize(
    ("name", "window"), [("Mistral", zoo.WINDOW), ("Gemma 4", zoo.WINDOW), ("Llama 4", zoo.WINDOW)]
)
def test_texts_are_of_unequal_length_and_exceed_every_window(name, window, tmp_path):
    model = load(str(zoo.save(name, tmp_path)))
    assert reach(model.network.config) >= window
    lengths = [len(text.prompt) for text in trial_texts(model)]
    assert len(set(lengths)) == 3
    assert sorted(lengths)[1] > window
    ids = {index for text in trial_texts(model) for part in text for index in part}
    assert not ids & {zoo.PAD, zoo.EOS, zoo.UNK}


def test_texts_fit_the_model():
    model = tiny.language_model("llama")
    model.network.config.max_position_embeddings = 20
    assert all(len(prompt) + len(answer) <= 20 for prompt, answer in trial_texts(model))


def test_what_is_too_long_to_try_is_not_shared(tmp_path):
    sizes = {**zoo.GROUPED, "max_position_embeddings": 4 * LONGEST, "sliding_window": 2 * LONGEST}
    MistralForCausalLM(MistralConfig(**sizes)).save_pretrained(tmp_path)
    zoo.tokenizer().save_pretrained(tmp_path)
    assert load(str(tmp_path)).reading == "joint"


def test_an_error_is_relative_to_the_spread_of_logits():
    plain = torch.tensor([[1.0, -1.0], [10.0, -10.0]])
    assert relative_error(plain + torch.tensor([[0.1, 0.0], [0.0, 0.0]]), plain) == pytest.approx(0.1 / 2**0.5 / 2)


def test_what_is_no_number_is_never_near_enough():
    plain = torch.tensor([[1.0, -1.0], [3.0, 2.0]])
    assert relative_error(plain, plain) == 0
    for where in ((plain * torch.nan, plain), (plain, plain * torch.nan), (plain / 0, plain)):
        assert relative_error(*where) == math.inf


def test_excluded_tokens_hide_no_other_error():
    """Networks exclude tokens by the least number of their type, beside which any other error is nothing."""
    plain = torch.tensor([[1.0, -1.0, torch.finfo(torch.float32).min]])
    assert relative_error(plain, plain) == 0
    assert relative_error(torch.tensor([[2.0, -1.0, torch.finfo(torch.float32).min]]), plain) > 0.5
    assert relative_error(torch.tensor([[1.0, -1.0, 0.0]]), plain) == math.inf


# What is kept


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "SLOW", 0.0)
    return tmp_path / "cache" / "readings"


def test_a_model_that_is_slow_to_try_is_tried_once(mistral, kept, monkeypatch):
    assert with_reading(mistral).reading == "shared"
    (file,) = kept.iterdir()
    monkeypatch.setattr(probe, "_cheapest", lambda model: "joint")
    assert with_reading(mistral).reading == "shared"
    for other in (replace(mistral, fingerprint="other"), replace(mistral, network=mistral.network.to(torch.bfloat16))):
        assert with_reading(other).reading == "joint"
    file.write_text("{")
    mistral.network.to(torch.float32)
    assert with_reading(mistral).reading == "joint"


def test_a_model_that_is_quick_to_try_leaves_no_file(mistral, kept, monkeypatch):
    monkeypatch.setattr(probe, "SLOW", float("inf"))
    with_reading(mistral)
    assert not kept.exists()


def test_no_room_for_what_is_found_is_no_failure(mistral, kept):
    kept.parent.write_text("a file where the cache would be")
    assert with_reading(mistral).reading == "shared"


def test_a_plain_text_is_read_without_padding_or_cache(mistral):
    seen = []
    real = mistral.network.forward

    def forward(**given):
        seen.append({name: getattr(value, "shape", value) for name, value in given.items()})
        return real(**given)

    mistral.network.forward = forward
    try:
        plain_logits(mistral, Text([3, 4, 5], [6, 7]))
    finally:
        del mistral.network.forward
    assert seen == [{"input_ids": (1, 4), "use_cache": False}]
