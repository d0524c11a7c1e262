"""What is refused when models are loaded or paired, and that a loaded model knows its ids."""

import json

import pytest
from safetensors.torch import load_file, save_file

from ketchup.errors import ModelError
from ketchup.models.loading import check_same_vocabulary, load
from tests import tiny


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_folder_loads_with_its_ids(kind, tmp_path):
    model = load(str(tiny.save(kind, tmp_path)))
    assert (model.eos_id, model.pad_id, model.vocabulary) == (1, 0 if kind == "t5" else 1, 6)
    assert model.encoder_decoder == (kind == "t5")
    assert model.start_id == (0 if kind == "t5" else None)
    assert not model.network.training


def edit(path, **values):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **values}))


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_weights_that_are_missing_are_not_drawn_at_random(kind, tmp_path, capfd):
    weights = load_file(tiny.save(kind, tmp_path) / "model.safetensors")
    (gone,) = [name for name in weights if name.endswith(("decoder.final_layer_norm.weight", "model.norm.weight"))]
    save_file({name: value for name, value in weights.items() if name != gone}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=rf"The weights in .* lack {gone}; put a whole copy"):
        load(str(tmp_path))
    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"The weights in .* lack .* and [0-9]+ others; put a whole copy"):
        load(str(tmp_path))
    assert capfd.readouterr().err == ""


def test_weights_that_no_part_of_the_model_asks_for_are_a_warning(tmp_path, caplog):
    """As where config.json lost layers."""
    tiny.save("llama", tmp_path)
    edit(tmp_path / "config.json", num_hidden_layers=1)
    load(str(tmp_path))
    assert "have model.layers.1.input_layernorm.weight and 8 others, of which config.json says nothing" in caplog.text


def test_eos_of_config_and_tokenizer_must_agree(tmp_path):
    tiny.save("llama", tmp_path)
    edit(tmp_path / "config.json", eos_token_id=3)
    with pytest.raises(ModelError, match=r"ends with token \[3\] by its config but with 1 by its tokenizer"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "generation", "ends"),
    [
        ([1, 3], [1, 3], (1, 3)),  # as Gemma 3 has them
        (1, [5, 4, 1], (1, 4, 5)),  # as Phi 3.5
        (4, [1, 4], (1, 4)),  # as Llama 3, whose tokenizer ends with the other
        (1, None, (1,)),
        (None, 4, (1, 4)),
        ([1, 99], 1, (1,)),  # a token that the head does not have can never be written
    ],
)
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_an_output_ends_with_every_token_that_the_files_list(kind, config, generation, ends, tmp_path):
    tiny.save(kind, tmp_path)
    edit(tmp_path / "config.json", eos_token_id=config)
    edit(tmp_path / "generation_config.json", eos_token_id=generation)
    model = load(str(tmp_path))
    assert model.eos_ids == ends
    assert model.eos_id == 1


def test_an_end_that_is_no_id_is_refused(tmp_path):
    tiny.save("llama", tmp_path)
    edit(tmp_path / "generation_config.json", eos_token_id=[1, "</s>"])
    with pytest.raises(ModelError, match="as eos_token_id"):
        load(str(tmp_path))


def test_a_tokenizers_end_without_a_row_is_refused(tmp_path):
    tiny.save("llama", tmp_path)
    tokenizer = tiny.tokenizer("llama")
    tokenizer.add_special_tokens({"eos_token": "<end>"})
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"eos token 6 .* has no row"):
        load(str(tmp_path))


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_pad_token_without_a_row_is_replaced(kind, tmp_path):
    tiny.save(kind, tmp_path)
    tokenizer = tiny.tokenizer(kind)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer.pad_token_id == 6
    tokenizer.save_pretrained(tmp_path)
    model = load(str(tmp_path))
    assert (model.pad_id, model.vocabulary) == (1, 6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    tiny.save("llama", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.norm.weight"][3] = value
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"not all finite as torch.float32 \(first model.norm.weight\)"):
        load(str(tmp_path))


def test_an_encoder_decoder_needs_a_start_token(tmp_path):
    tiny.save("t5", tmp_path)
    edit(tmp_path / "config.json", decoder_start_token_id=None)
    with pytest.raises(ModelError, match="decoder_start_token_id"):
        load(str(tmp_path))


def test_a_tokenizer_without_eos_is_refused(tmp_path):
    tiny.save("llama", tmp_path)
    edit(tmp_path / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ModelError, match="no eos token"):
        load(str(tmp_path))


def test_an_unknown_name_is_one_sentence():
    with pytest.raises(ModelError, match="Cannot load the model 'no/such-model'") as caught:
        load("no/such-model")
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_not_loaded(tmp_path):
    import torch

    tiny.save("llama", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(tiny.network("llama", 6).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError):
        load(str(tmp_path))


def test_the_fingerprint_follows_the_weights(tmp_path):
    first = load(str(tiny.save("t5", tmp_path / "a"))).fingerprint
    assert load(str(tiny.save("t5", tmp_path / "b"))).fingerprint == first
    assert load(str(tiny.save("t5", tmp_path / "c", seed=1))).fingerprint != first


def test_one_shifted_token_is_refused_by_name():
    teacher = tiny.language_model("t5")
    student = tiny.language_model("t5", words=("a", "c", "b", "d"))
    with pytest.raises(ModelError, match=r"differ in 2 tokens, first 'b' \(id 3 and 4\)"):
        check_same_vocabulary(teacher, student)


def test_another_eos_is_refused():
    teacher, student = tiny.language_model("llama"), tiny.language_model("llama")
    object.__setattr__(student, "eos_ids", (2,))
    with pytest.raises(ModelError, match=r"ends with token 1 and student .* with 2"):
        check_same_vocabulary(teacher, student)
    with pytest.raises(ModelError, match=r"ends with token 1 and student .* with 1 or 2"):
        check_same_vocabulary(teacher, tiny.language_model("llama", eos_ids=(1, 2)))
    check_same_vocabulary(tiny.language_model("llama", eos_ids=(1, 2)), tiny.language_model("llama", eos_ids=(2, 1)))


def test_heads_may_differ_by_padding_rows_only():
    teacher = tiny.language_model("t5")
    check_same_vocabulary(teacher, tiny.language_model("t5", padding_rows=5))
    short = tiny.language_model("t5")
    object.__setattr__(short, "vocabulary", 5)
    with pytest.raises(ModelError, match="cover 6 and 5"):
        check_same_vocabulary(teacher, short)
