"""A student of some of a teacher's layers computes with exactly their weights."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    DiffLlamaConfig,
    DiffLlamaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MT5Config,
    MT5ForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from ketchup.errors import ModelError, UsageError
from ketchup.models import layers
from ketchup.models.layers import check_saved, choose_layers, evenly_spaced, keep_layers

LAYERS = 6
SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_hidden_layers": LAYERS,
    "head_dim": 8,
    "pad_token_id": 0,
    "eos_token_id": 1,
}


def llama():
    return LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True))


def qwen2():
    """Sliding windows from the fourth layer on: the configuration lists a type per layer."""
    return Qwen2ForCausalLM(Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=4, max_window_layers=3))


def qwen3():
    return Qwen3ForCausalLM(Qwen3Config(**SIZES))


def gpt2():
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=LAYERS, n_head=2, n_positions=32, **ends))


def bart():
    """A bias is added to the logits after the head."""
    sizes = {"d_model": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 32}
    layers = {"encoder_layers": LAYERS, "decoder_layers": 5, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
    model = BartForConditionalGeneration(BartConfig(vocab_size=40, pad_token_id=0, eos_token_id=1, **sizes, **layers))
    model.final_logits_bias.copy_(torch.randn(1, 40))
    return model


def with_own_head(build):
    """As its checkpoint has another weight under the head's name, though the configuration ties the two."""

    def built():
        model = build()
        head = model.get_output_embeddings()
        head.weight = torch.nn.Parameter(torch.randn_like(head.weight))
        del model.all_tied_weights_keys["lm_head.weight"]
        return model

    built.__name__ = f"{build.__name__} with a head of its own"
    return built


def t5_v1_1():
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=40,
            d_model=16,
            d_ff=24,
            d_kv=8,
            num_heads=2,
            num_layers=LAYERS,
            num_decoder_layers=5,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=False,
            decoder_start_token_id=0,
        )
    )


def mt5():
    sizes = {"d_model": 16, "d_ff": 24, "d_kv": 8, "num_heads": 2, "num_layers": LAYERS, "num_decoder_layers": 5}
    return MT5ForConditionalGeneration(MT5Config(vocab_size=40, decoder_start_token_id=0, **sizes))


def t5():
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=40,
            d_model=16,
            d_ff=24,
            d_kv=8,
            num_heads=2,
            num_layers=LAYERS,
            num_decoder_layers=5,
            decoder_start_token_id=0,
        )
    )


DECODER_ONLY = [llama, qwen2, qwen3, gpt2]
PLACES = {
    llama: ["model.layers."],
    qwen2: ["model.layers."],
    qwen3: ["model.layers."],
    gpt2: ["transformer.h."],
    t5: ["encoder.block.", "decoder.block."],
    bart: ["model.encoder.layers.", "model.decoder.layers."],
    with_own_head(t5_v1_1): ["encoder.block.", "decoder.block."],
    with_own_head(mt5): ["encoder.block.", "decoder.block."],
    with_own_head(llama): ["model.layers."],
}
every_model = pytest.mark.parametrize("build", PLACES)


@pytest.fixture
def model(build):
    torch.manual_seed(0)
    model = build().eval()
    with torch.no_grad():  # no two weights alike, norms and biases too
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


def logits(model, tokens):
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            return model(input_ids=tokens, decoder_input_ids=tokens, use_cache=False).logits
        return model(input_ids=tokens, use_cache=False).logits


TOKENS = torch.tensor([[5, 9, 3, 22, 17, 8, 30], [4, 4, 11, 2, 39, 6, 13]])


# Which layers


def test_spacing_by_hand():
    assert evenly_spaced(30, 10) == [0, 3, 6, 10, 13, 16, 19, 23, 26, 29]  # 29/9 = 3.22 apart, rounded
    assert evenly_spaced(12, 6) == [0, 2, 4, 7, 9, 11]
    assert evenly_spaced(4, 2) == [0, 3]
    assert evenly_spaced(6, 1) == [0]


@given(st.integers(2, 100), st.data())
def test_spacing_keeps_the_ends_and_is_even(total, data):
    keep = data.draw(st.integers(2, total))
    kept = evenly_spaced(total, keep)
    distances = {later - earlier for earlier, later in itertools.pairwise(kept)}
    assert (len(kept), kept[0], kept[-1]) == (keep, 0, total - 1)
    assert min(distances) >= 1
    assert max(distances) - min(distances) <= 1


@pytest.mark.parametrize("keep", [0, -1, 7])
def test_an_impossible_number_is_refused(keep):
    with pytest.raises(UsageError, match=f"Cannot keep {keep} of 6 layers; choose a number from 1 to 6"):
        evenly_spaced(6, keep)


# The student


@every_model
def test_all_layers_give_the_same_logits(model):
    student = keep_layers(model, LAYERS, 5 if model.config.is_encoder_decoder else None)
    torch.testing.assert_close(logits(student, TOKENS), logits(model, TOKENS), rtol=0, atol=0)


@every_model
def test_the_weights_are_those_of_the_kept_layers(model, build):
    student = keep_layers(model, 3)
    kept = dict(zip(PLACES[build], choose_layers(model, 3).values(), strict=True))
    expected = {}
    for name, weight in model.state_dict().items():
        place = next((place for place in kept if name.startswith(place)), None)
        if place is None:
            expected[name] = weight
        else:
            number, rest = name.removeprefix(place).split(".", 1)
            if int(number) in kept[place]:
                expected[f"{place}{kept[place].index(int(number))}.{rest}"] = weight
    assert student.state_dict().keys() == expected.keys()
    for name, weight in student.state_dict().items():
        assert torch.equal(weight, expected[name]), name


@pytest.mark.parametrize("build", DECODER_ONLY)
def test_the_student_is_the_teacher_with_layers_skipped(model, build):
    """Dropping modules of the teacher in place is another way to the same function."""
    student = keep_layers(model, 2)
    place = PLACES[build][0].removesuffix(".")
    layers = model.get_submodule(place)
    model.set_submodule(place, torch.nn.ModuleList([layers[0], layers[-1]]))
    model.config = student.config
    model.base_model.config = student.config
    torch.testing.assert_close(logits(student, TOKENS), logits(model, TOKENS))


@every_model
def test_generation_with_a_cache_agrees_with_the_one_without(model):
    student = keep_layers(model, 3)
    everything = {"attention_mask": torch.ones_like(TOKENS), "do_sample": False}
    settings = {"max_new_tokens": 8, "min_new_tokens": 8, **everything}  # no early eos: every position counts
    cached = student.generate(TOKENS, **settings, use_cache=True)
    assert torch.equal(cached, student.generate(TOKENS, **settings, use_cache=False))


@every_model
def test_the_student_has_its_own_weights(model):
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    student = keep_layers(model, 3)
    with torch.no_grad():
        for weight in student.parameters():
            weight.zero_()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


@every_model
def test_a_saved_student_loads_as_it_was(model, tmp_path):
    student = keep_layers(model, 3)
    student.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(logits(loaded, TOKENS), logits(student, TOKENS), rtol=0, atol=0)


@pytest.mark.parametrize("build", [t5])
def test_t5_can_keep_other_numbers_of_encoder_and_decoder_layers(model):
    assert choose_layers(model, 3, 2) == {"num_layers": [0, 3, 5], "num_decoder_layers": [0, 4]}
    student = keep_layers(model, 3, 2)
    assert (len(student.encoder.block), len(student.decoder.block)) == (3, 2)
    assert choose_layers(model, 2) == choose_layers(model, 2, 2)


@pytest.mark.parametrize("build", [t5])
def test_t5_with_as_many_layers_in_both_stacks_tells_them_apart(model):
    both = keep_layers(model, 5, 5)
    student = keep_layers(both, 2, 3)
    assert (len(student.encoder.block), len(student.decoder.block)) == (2, 3)


@pytest.mark.parametrize("build", [qwen2])
def test_the_types_of_layers_move_with_them(model):
    assert model.config.layer_types == ["full_attention"] * 3 + ["sliding_attention"] * 3
    student = keep_layers(model, 3)  # layers 0, 3 and 5: 2.5 is rounded up
    assert student.config.layer_types == ["full_attention", "sliding_attention", "sliding_attention"]
    assert len(model.config.layer_types) == LAYERS


@pytest.mark.parametrize("build", [llama])
def test_dtype_mode_and_generation_settings_are_the_teachers(model):
    model.generation_config.max_length = 77
    student = keep_layers(model.to(torch.bfloat16), 2)
    assert student.dtype == torch.bfloat16
    assert not student.training
    assert student.generation_config.max_length == 77


class LlamaWithAdapters(LlamaForCausalLM):
    """Has another list of modules, which comes before the layers."""

    def __init__(self, config):
        super().__init__(config)
        self._modules = {"adapters": torch.nn.ModuleList([torch.nn.Linear(2, 2)]), **self._modules}


@pytest.mark.parametrize("build", [lambda: LlamaWithAdapters(LlamaConfig(**SIZES))])
def test_another_list_of_modules_is_not_taken_for_the_layers(model):
    student = keep_layers(model, 2)
    assert len(student.model.layers) == 2
    assert torch.equal(student.adapters[0].weight, model.adapters[0].weight)


# What cannot be


@pytest.mark.parametrize("build", [t5])
def test_too_many_decoder_layers_are_refused(model):
    with pytest.raises(UsageError, match="Cannot keep 6 of 5 layers"):
        keep_layers(model, 6)


@pytest.mark.parametrize("build", [llama])
def test_decoder_layers_are_for_encoder_decoder_models(model):
    with pytest.raises(UsageError, match="encoder-decoder"):
        keep_layers(model, 2, 2)


def test_an_unknown_architecture_is_refused():
    model = LlamaForCausalLM(LlamaConfig(**SIZES))
    model.config.num_hidden_layers = 7  # no list of modules is that long
    with pytest.raises(ModelError, match="layers of a LlamaForCausalLM are is not known"):
        keep_layers(model, 1)


def test_a_layer_that_computes_by_its_number_is_refused():
    """A DiffLlama layer starts from λ = 0.8 - 0.6 exp(-0.3 number): the teacher's last is another one as number 2."""
    model = DiffLlamaForCausalLM(DiffLlamaConfig(**{**SIZES, "num_key_value_heads": 2})).eval()
    assert keep_layers(model, LAYERS)
    with pytest.raises(ModelError, match=r"do something else in a student \(logits are off by"):
        keep_layers(model, 2)
    assert len(model.model.layers) == model.config.num_hidden_layers == LAYERS


def test_a_student_with_other_weights_is_not_handed_out(monkeypatch):
    model = with_own_head(t5_v1_1)().eval()
    monkeypatch.setattr(layers, "_untie", lambda *_: None)
    with pytest.raises(ModelError, match="do something else in a student"):
        keep_layers(model, LAYERS, 5)


def test_a_folder_that_holds_another_model_is_found_out(tmp_path):
    student = keep_layers(llama().eval(), 2)
    student.save_pretrained(tmp_path)
    check_saved(student, tmp_path)
    with torch.no_grad():
        student.model.layers[1].mlp.up_proj.weight.mul_(2)
    with pytest.raises(ModelError, match="not the same after it is saved and loaded"):
        check_saved(student, tmp_path)


def test_layers_bound_to_their_place_are_refused():
    """Here the second layer is dense and the third has experts."""
    config = Qwen3MoeConfig(**SIZES, mlp_only_layers=[1], num_experts=2, num_experts_per_tok=1, moe_intermediate_size=8)
    with pytest.raises(ModelError, match="cannot be moved"):
        keep_layers(Qwen3MoeForCausalLM(config), 3)
