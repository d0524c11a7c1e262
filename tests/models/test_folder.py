"""What is read of a model folder is what its hash covers; pickles are not read and code is not run."""

import json
import pickle
from pathlib import Path

import huggingface_hub
import pytest
from safetensors.torch import load_file, save_file

from ketchup.errors import ModelError
from ketchup.models.folder import folder_hash
from ketchup.models.loading import load
from tests import tiny

READ = (
    *("config.json", "generation_config.json", "model.safetensors", "model.safetensors.index.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "additional_chat_templates/rag.jinja"),
    *("spiece.model", "sentencepiece.bpe.model", "source.spm", "vocab.json", "vocab.txt", "merges.txt", "tekken.json"),
    *("first-shard.safetensors", "shards/second.safetensors"),
)
"""What transformers 5 may read of a folder: `vocab_files_names` of its tokenizers, its templates and weights."""
INDEX = {"weight_map": {"a": "first-shard.safetensors", "b": "shards/second.safetensors"}}


@pytest.fixture
def folder(tmp_path):
    for name in READ:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(INDEX))
    return tmp_path


@pytest.mark.parametrize("name", READ)
def test_the_hash_follows_every_file_that_decides_what_a_model_computes_or_is_asked(folder, name):
    before = folder_hash(folder)
    (folder / name).write_text(json.dumps({**INDEX, "edited": True}))
    edited = folder_hash(folder)
    assert edited != before
    if name not in ("config.json", "model.safetensors.index.json"):
        (folder / name).unlink()
        assert folder_hash(folder) not in (before, edited)


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "step.json", "trainer.pt", "README.md", ".gitattributes", "pytorch_model.bin", "modeling.py"],
)
def test_the_hash_ignores_what_is_never_read(folder, name):
    before = folder_hash(folder)
    (folder / name).write_text("another time")
    assert folder_hash(folder) == before


def test_a_folder_without_weights_has_no_hash(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="is no model folder"):
        folder_hash(tmp_path)


# Weights


class Harm:
    """A pickle that leaves a mark where it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def sharded(folder, file):
    """The model in two files, one of them of this name."""
    tiny.save("llama", folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    first, *others = weights
    save_file({name: weights[name] for name in others}, folder / "others.safetensors", {"format": "pt"})
    index = {"metadata": {}, "weight_map": {first: file, **dict.fromkeys(others, "others.safetensors")}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return {first: weights[first]}


def test_shards_are_loaded_and_hashed(tmp_path):
    first = sharded(tmp_path, "first.safetensors")
    save_file(first, tmp_path / "first.safetensors", {"format": "pt"})
    before = load(str(tmp_path)).fingerprint
    save_file({name: weight + 1 for name, weight in first.items()}, tmp_path / "first.safetensors", {"format": "pt"})
    assert load(str(tmp_path)).fingerprint != before


def test_a_pickle_that_an_index_names_is_not_opened(tmp_path):
    sharded(tmp_path, "first.bin")
    (tmp_path / "first.bin").write_bytes(pickle.dumps(Harm(tmp_path / "mark")))
    with pytest.raises(ModelError, match=r"names weights in 'first.bin', and only its own \*.safetensors are read"):
        load(str(tmp_path))
    assert not (tmp_path / "mark").exists()


def test_weights_outside_the_folder_are_not_read(tmp_path):
    first = sharded(tmp_path / "model", "../first.safetensors")
    save_file(first, tmp_path / "first.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"names weights in '../first.safetensors'"):
        load(str(tmp_path / "model"))


def test_a_pickle_that_the_configuration_names_is_not_opened(tmp_path):
    tiny.save("llama", tmp_path)
    edit(tmp_path / "config.json", transformers_weights="adapter_model.bin")
    (tmp_path / "adapter_model.bin").write_bytes(pickle.dumps(Harm(tmp_path / "mark")))
    with pytest.raises(ModelError, match=r"'adapter_model.bin', and only its own \*.safetensors"):
        load(str(tmp_path))
    assert not (tmp_path / "mark").exists()


def test_adapters_are_not_loaded_on_the_quiet(tmp_path):
    tiny.save("llama", tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "elsewhere"}))
    with pytest.raises(ModelError, match=r"holds adapters .* merge them"):
        load(str(tmp_path))


def test_an_index_that_is_damaged_is_named(tmp_path):
    sharded(tmp_path, "first.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ModelError, match=r"index.json is damaged"):
        load(str(tmp_path))


# The hub


COMMITS = ("a" * 40, "b" * 40)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the hub with two commits of `owner/model`; called with one, it makes that the newest."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--owner--model"
    (repository / "refs").mkdir(parents=True)
    for seed, commit in enumerate(COMMITS):
        tiny.save("llama", repository / "snapshots" / commit, seed=seed)

    def at(commit):
        (repository / "refs" / "main").write_text(commit)
        return repository / "snapshots" / commit

    return at


def test_commits_of_the_hub_are_told_apart(hub):
    for commit in COMMITS:
        hub(commit)
        assert load("owner/model").fingerprint == f"hub commit {commit}"


def test_a_pickle_that_an_index_of_the_hub_names_is_not_opened(hub):
    folder = hub(COMMITS[0])
    sharded(folder, "first.bin")
    (folder / "first.bin").write_bytes(pickle.dumps(Harm(folder / "mark")))
    with pytest.raises(ModelError, match=r"names weights in 'first.bin'"):
        load("owner/model")
    assert not (folder / "mark").exists()


# Code

CODE = """
from pathlib import Path
Path({mark!r}).touch()
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
class Own(LlamaConfig): model_type = "own"
class OwnModel(LlamaForCausalLM): config_class = Own
class OwnTokenizer(PreTrainedTokenizerFast): pass
"""


def edit(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("part", ["config", "model", "tokenizer", "attention"])
def test_code_of_a_folder_is_refused_and_not_asked_about(tmp_path, monkeypatch, part):
    tiny.save("llama", tmp_path)
    mark = tmp_path / "mark"
    (tmp_path / "own.py").write_text(CODE.format(mark=str(mark)))
    if part == "config":
        names = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel"}
        edit(tmp_path / "config.json", model_type="own", auto_map=names)
    if part == "model":  # a configuration that transformers knows, for a kind of model that it has not
        edit(tmp_path / "config.json", model_type="vit", auto_map={"AutoModelForCausalLM": "own.OwnModel"})
    if part == "tokenizer":
        names = {"AutoTokenizer": [None, "own.OwnTokenizer"]}
        edit(tmp_path / "tokenizer_config.json", tokenizer_class="OwnTokenizer", auto_map=names)
        edit(tmp_path / "config.json", model_type="vit")  # which has no tokenizer that could stand in
    if part == "attention":
        edit(tmp_path / "config.json", attn_implementation="owner/attention")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ModelError, match=r"wants to run code of its own .* never done") as caught:
        load(str(tmp_path))
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_where_transformers_has_the_architecture_its_own_is_taken(tmp_path, monkeypatch):
    tiny.save("llama", tmp_path)
    mark = tmp_path / "mark"
    (tmp_path / "own.py").write_text(CODE.format(mark=str(mark)))
    edit(tmp_path / "config.json", auto_map={"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel"})
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    assert type(load(str(tmp_path)).network).__module__.startswith("transformers.models.llama")
    assert not mark.exists()
