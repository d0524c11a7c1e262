"""A real vLLM in an environment of its own, and a model for it that is small enough for 64 calls at once on a CPU."""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from contextlib import contextmanager

import pytest

from ketchup.remote import serving as server_module
from ketchup.remote.serving import CHAT, serving

SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
OPTIONS = ["--enforce-eager", "--dtype", "float32", "--max-model-len", "2048"]


def python_with_vllm():
    """The Python of an environment with vLLM, if there is one; vLLM pins its own torch, so it lives apart."""
    return os.environ.get("KETCHUP_TEST_VLLM")


class Served(str):
    """The base URL of a server, with its process."""

    def __new__(cls, url, process):
        made = super().__new__(cls, url)
        made.process = process
        return made


@contextmanager
def served(model, name, folder, options=OPTIONS, trial=CHAT):
    """A server of a model; yields its base URL, and its process for those who would kill it."""
    started = []
    popen = subprocess.Popen
    with pytest.MonkeyPatch.context() as patched:
        for variable, value in SETTINGS.items():
            patched.setenv(variable, value)
        patched.setattr(server_module, "count_gpus", lambda: 0)
        patched.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
        context = serving(str(model), name, folder / "server.log", python_with_vllm(), list(options), trial=trial)
        url = context.__enter__()
    try:
        yield url, started[0]
    finally:
        context.__exit__(None, None, None)


def metric(url, name):
    """The sum of one of the server's counters."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/metrics") as answer:
        text = answer.read().decode()
    return sum(float(value) for value in re.findall(rf"^vllm:{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


def tiny_qwen2(folder, tokenizer_of):
    """A Qwen2 of random weights that reads and writes another model's tokens."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    files = json.loads((tokenizer_of / "config.json").read_text())
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=files["vocab_size"],
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        bos_token_id=files.get("bos_token_id"),
        eos_token_id=files["eos_token_id"],
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        if (tokenizer_of / name).exists():
            shutil.copy(tokenizer_of / name, folder / name)
    return folder
