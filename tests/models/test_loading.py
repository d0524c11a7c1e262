"""What is refused when models are loaded or paired, and that a loaded model knows its ids."""

import json

import pytest

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


def test_eos_of_config_and_tokenizer_must_agree(tmp_path):
    tiny.save("llama", tmp_path)
    edit(tmp_path / "config.json", eos_token_id=3)
    with pytest.raises(ModelError, match=r"ends with token \[3\] by its config but with 1 by its tokenizer"):
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
    object.__setattr__(student, "eos_id", 2)
    with pytest.raises(ModelError, match=r"ends with token 1 and student .* with 2"):
        check_same_vocabulary(teacher, student)


def test_heads_may_differ_by_padding_rows_only():
    teacher = tiny.language_model("t5")
    check_same_vocabulary(teacher, tiny.language_model("t5", padding_rows=5))
    short = tiny.language_model("t5")
    object.__setattr__(short, "vocabulary", 5)
    with pytest.raises(ModelError, match="cover 6 and 5"):
        check_same_vocabulary(teacher, short)
