"""Engines draw from the student's own distribution; vLLM has a file of its own."""

import math
from dataclasses import replace
from importlib.util import find_spec
from typing import NamedTuple

import pytest
import torch

from ketchup.choices import READY_ENGINES
from ketchup.errors import ModelError, UsageError
from ketchup.rollouts import conversion, transformers_engine
from ketchup.rollouts.ctranslate2_engine import CTranslate2Engine, reason_against
from ketchup.rollouts.engines import ENGINES as ENGINE_CLASSES
from ketchup.rollouts.engines import choose, engine
from ketchup.rollouts.types import Decoding
from tests import tiny
from tests.rollouts import contract
from tests.rollouts.contract import PROMPTS, assert_drawn_from

ENGINES = ("ctranslate2", "transformers")


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_samples_follow_the_students_distribution_with_prompts_of_different_length(kind, name):
    model = tiny.language_model(kind, padding_rows=3)
    contract.check_samples_follow_the_distribution(engine(name, model), model)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_samples_of_an_input_come_in_no_order(kind, name):
    model = tiny.language_model(kind)
    contract.check_samples_of_an_input_come_in_no_order(engine(name, model), model)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_temperature_and_top_k_shape_the_distribution(kind, name):
    model = tiny.language_model(kind)
    contract.check_temperature_and_top_k(engine(name, model), model)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_each_token_comes_with_the_log_probability_it_was_drawn_with(kind):
    model = tiny.language_model(kind, padding_rows=3)
    contract.check_log_probs_are_those_that_tokens_were_drawn_with(engine("transformers", model), model)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_ctranslate2_tells_of_the_whole_distribution_only(kind):
    """At a temperature or within a top k it would tell log π of the model as it is, so that it is not asked."""
    model = tiny.language_model(kind, padding_rows=3)
    runner = engine("ctranslate2", model)
    whole, *others = contract.DECODINGS
    contract.check_log_probs_are_those_that_tokens_were_drawn_with(runner, model, [whole])
    for decoding in others:
        assert not runner.tells(decoding)
        assert runner.sample(PROMPTS, None, 2, decoding, 0).log_probs is None


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_log_probabilities_of_continued_rows_follow_what_they_began_with(kind, name):
    model = tiny.language_model(kind)
    prefixes = [[3], [], [2, 5]]
    alone = engine(name, model).sample(PROMPTS, prefixes, 1, Decoding(5), seed=3)
    assert all(map(math.isfinite, [log_prob for row in alone.log_probs for log_prob in row]))
    drawn = engine(name, model).sample(PROMPTS, prefixes, 20, Decoding(5), seed=3)
    for index, (row, log_probs) in enumerate(zip(drawn.rows, drawn.log_probs, strict=True)):
        begun, prompt = prefixes[index // 20], PROMPTS[index // 20]
        exact = [
            float(tiny.next_logits(model, prompt, [*begun, *row[:t]]).log_softmax(-1)[a]) for t, a in enumerate(row)
        ]
        assert log_probs == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_in_int8_rows_come_from_another_distribution_whose_log_probabilities_are_told(kind):
    """The chi-square of what was drawn is that of the log-probabilities that came with it, not of the model's own."""
    model = tiny.language_model(kind)
    runner = engine("ctranslate2:int8", model)
    assert runner.name == "ctranslate2:int8"
    drawn = runner.sample(PROMPTS[:1], None, 4000, Decoding(1), seed=1)
    told = {row[0]: log_probs[0] for row, log_probs in drawn.with_log_probs}
    own = tiny.next_logits(model, PROMPTS[0], []).log_softmax(-1)
    assert max(abs(told[token] - float(own[token])) for token in told) > 1e-4
    for token, log_prob in told.items():
        share = math.exp(log_prob)
        found = sum(row == [token] for row in drawn.rows) / 4000
        assert found == pytest.approx(share, abs=4 * (share * (1 - share) / 4000) ** 0.5)


def test_a_type_that_ctranslate2_does_not_compute_in_is_refused(monkeypatch):
    monkeypatch.setattr("ctranslate2.get_supported_compute_types", lambda *_: {"float32", "int8"})
    with pytest.raises(
        UsageError, match=r"not compute in bfloat16 on cpu \(it does in float32, int8\); use --engine tr"
    ):
        engine("ctranslate2:bfloat16", tiny.language_model("t5"))


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_prefixes_of_different_length_are_continued_from_their_own_state(kind, name):
    model = tiny.language_model(kind)
    contract.check_prefixes_are_continued(engine(name, model), model)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_rows_end_with_eos_or_at_the_limit(kind, name):
    model = tiny.language_model(kind)
    contract.check_rows_end_with_eos_or_at_the_limit(engine(name, model), model)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_the_first_of_several_ends_ends_a_row(kind, name):
    model = tiny.language_model(kind, eos_ids=(1, 3))
    contract.check_rows_end_with_eos_or_at_the_limit(engine(name, model), model)
    contract.check_samples_follow_the_distribution(engine(name, model), model)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_greedy_takes_the_likeliest_token(kind, name):
    model = tiny.language_model(kind)
    contract.check_greedy_takes_the_likeliest_token(engine(name, model), model)


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_the_same_seed_gives_the_same_rows_and_another_does_not(kind, name):
    contract.check_seeds_decide_the_rows(engine(name, tiny.language_model(kind)))


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_after_an_update_samples_follow_the_new_weights(kind, name):
    model = tiny.language_model(kind, seed=0)
    runner = engine(name, model)
    model.network.load_state_dict(tiny.network(kind, model.vocabulary, seed=5).state_dict())
    runner.update(model)
    rows = runner.sample(PROMPTS[:1], None, 3000, Decoding(2), seed=5).rows
    assert_drawn_from(rows, tiny.sequence_probabilities(model, PROMPTS[0], 2))


@pytest.mark.parametrize("kind", tiny.KINDS)
@pytest.mark.parametrize("name", ENGINES)
def test_a_prompt_of_one_token_may_stand_beside_longer_ones(kind, name):
    model = tiny.language_model(kind)
    prompts = [[2, 3, 4, 5], [5], [4, 4]]
    rows = engine(name, model).sample(prompts, None, 2000, Decoding(2), seed=6).rows
    for index, prompt in enumerate(prompts):
        mine = rows[index * 2000 : (index + 1) * 2000]
        assert_drawn_from(mine, tiny.sequence_probabilities(model, prompt, 2))


def test_generation_from_other_probabilities_is_refused(monkeypatch):
    monkeypatch.setattr(transformers_engine, "relative_error", lambda *_: 0.5)
    with pytest.raises(ModelError, match=r"from other probabilities than its forward pass gives \(off by 0.5 .*\);"):
        engine("transformers", tiny.language_model("llama"))


def test_every_engine_has_a_name_and_every_name_an_engine():
    assert {"auto", *ENGINE_CLASSES} == set(READY_ENGINES)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_vllm_is_asked_for_where_it_is_missing():
    with pytest.raises(UsageError, match=r'pip install "ketchup-kd\[vllm\]"'):
        engine("vllm", tiny.language_model("llama"))


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

    real = conversion._shadow
    monkeypatch.setattr(conversion, "_shadow", with_another_rope)
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


class Seen(NamedTuple):
    """What `reason_against` looks at of a model on a GPU, which this machine need not have."""

    name: str
    network: object
    device: torch.device
    spread: bool = False


@pytest.mark.parametrize(("seen", "taken"), [(0, False), (1, False), (2, True)])
def test_ctranslate2_is_tried_on_the_gpus_that_its_build_sees(monkeypatch, seen, taken):
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: seen)
    reason = reason_against(Seen("t5", tiny.network("t5", 6), torch.device("cuda", 1)))
    assert (reason is None) == taken
    assert taken or "does not support 't5' on cuda:1" in reason


def test_a_build_that_has_no_cuda_at_all_is_none_for_a_gpu(monkeypatch):
    def refuse():
        raise RuntimeError("This CTranslate2 package was not compiled with CUDA support")

    monkeypatch.setattr("ctranslate2.get_cuda_device_count", refuse)
    assert "its build has no CUDA" in reason_against(Seen("t5", tiny.network("t5", 6), torch.device("cuda", 0)))


def test_a_runner_is_made_on_the_models_device(monkeypatch):
    """As far as this can be seen without a GPU: what CTranslate2 is asked for."""
    built = CTranslate2Engine(tiny.language_model("t5"))
    asked = {}
    monkeypatch.setattr("ctranslate2.Translator", lambda *_, **options: asked.update(options))
    built.model = Seen("t5", None, torch.device("cuda", 1))
    monkeypatch.setattr(Seen, "encoder_decoder", True, raising=False)
    built._runner(0)
    assert (asked["device"], asked["device_index"], asked["compute_type"]) == ("cuda", 1, "float32")


def test_why_an_engine_was_choose(monkeypatch):
    model = tiny.language_model("t5")
    assert str(choose("auto", model)).startswith("ctranslate2 on cpu (the fastest")
    assert str(choose("transformers", model)) == "transformers on cpu (asked for)"
    narrow = replace(model, network=tiny.network("t5", 6).to(torch.bfloat16))
    assert str(choose("auto", narrow)) == (
        "transformers on cpu (CTranslate2 does not support 'tiny-t5-0' (its weights are bfloat16))"
    )
    with pytest.raises(UsageError, match=r"its weights are bfloat16\); use --engine transformers"):
        choose("ctranslate2", narrow)

    def no_library(*_):
        raise RuntimeError("Library libcublas.so.12 is not found or cannot be loaded")

    monkeypatch.setattr(CTranslate2Engine, "_gap", no_library)
    found = choose("auto", model)
    assert found.engine.name == "transformers"
    assert "libcublas.so.12 is not found" in found.why
