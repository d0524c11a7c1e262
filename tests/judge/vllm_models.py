"""Models for a real vLLM: one of random weights, small enough for 64 calls at once on a CPU, and SmolLM2."""

import json
import os
import shutil

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
