"""Hashes tell files, values and model folders apart, and only those."""

import pytest

from ketchup.errors import ModelError
from ketchup.hashes import content_hash, file_hash, folder_hash


def test_a_file_hash_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert file_hash(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_content_hash_ignores_the_order_of_keys_only():
    assert content_hash({"a": 1, "b": [1, 2]}) == content_hash({"b": [1, 2], "a": 1})
    assert content_hash({"a": 1, "b": [1, 2]}) != content_hash({"a": 1, "b": [2, 1]})
    assert len(content_hash(None)) == 16


def test_a_folder_hash_follows_what_the_model_computes(tmp_path):
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text(name)
    first = folder_hash(tmp_path)
    (tmp_path / "manifest.json").write_text("another time")
    assert folder_hash(tmp_path) == first
    hashes = {first}
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text("changed")
        hashes.add(folder_hash(tmp_path))
    assert len(hashes) == 4


def test_a_folder_without_weights_has_no_hash(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="is no model folder"):
        folder_hash(tmp_path)
