"""Models small enough to enumerate: seeded weights, one token a word, an encoder-decoder and a decoder-only kind."""

import copy
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from ketchup.models.language_model import LanguageModel

WORDS = ("a", "b", "c", "d")
CALCULATOR_WORDS = ("<<", "1", "2", "+", "=", ">>", "#")
KINDS = ("t5", "llama")
WIDE = "wide"
"""A Llama whose heads are as large as vLLM wants them, with room for long prompts and a tied head."""
SHARPNESS = 1.0
"""Weights are scaled up so that distributions are far from uniform and mistakes show."""


def tokenizer(kind: str, words: tuple[str, ...] = WORDS) -> PreTrainedTokenizerFast:
    """One token a word, written without spaces; like T5 with a pad of its own, like Llama with pad = eos."""
    specials = ("<pad>", "</s>") if kind == "t5" else ("<unk>", "</s>")
    vocabulary = {token: index for index, token in enumerate((*specials, *words))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=specials[0]))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated") if words == WORDS else _calculator_split()
    backend.decoder = decoders.Fuse()
    pad = "<pad>" if kind == "t5" else "</s>"
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=pad, eos_token="</s>", unk_token=specials[0])


def network(kind: str, vocabulary: int, seed: int = 0) -> PreTrainedModel:
    """Two layers of width 16 (64 if wide), with random weights."""
    torch.manual_seed(seed)
    if kind == "t5":
        config = T5Config(
            vocab_size=vocabulary,
            d_model=16,
            d_ff=32,
            d_kv=8,
            num_heads=2,
            num_layers=2,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.1,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
        model: PreTrainedModel = T5ForConditionalGeneration(config)
    else:
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=64 if kind == WIDE else 16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=512 if kind == WIDE else 64,
            tie_word_embeddings=kind == WIDE,
            bos_token_id=None,
            eos_token_id=1,
            pad_token_id=1,
            rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        )
        model = LlamaForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
        # The head alone sets how sharp the distribution is.
        head = model.get_output_embeddings().weight
        head.mul_({"t5": SHARPNESS, WIDE: 0.5}.get(kind, 1.0))
    return model.eval()


def language_model(
    kind: str,
    seed: int = 0,
    words: tuple[str, ...] = WORDS,
    padding_rows: int = 0,
    eos_ids: tuple[int, ...] = (1,),
) -> LanguageModel:
    """A tiny model ready for use; `padding_rows` widen its head beyond the vocabulary."""
    words_tokenizer = tokenizer(kind, words)
    size = len(words) + 2
    built = network(kind, size + padding_rows, seed)
    return LanguageModel(
        name=f"tiny-{kind}-{seed}",
        network=built,
        tokenizer=words_tokenizer,
        vocabulary=size,
        eos_ids=eos_ids,
        pad_id=0 if kind == "t5" else 1,
        start_id=0 if kind == "t5" else None,
        fingerprint=f"{kind}-{seed}",
        max_tokens=getattr(built.config, "max_position_embeddings", None),
    )


def save(kind: str, folder: Path, seed: int = 0, words: tuple[str, ...] = WORDS) -> Path:
    """The tiny model as a `save_pretrained` folder."""
    network(kind, len(words) + 2, seed).save_pretrained(folder)
    tokenizer(kind, words).save_pretrained(folder)
    return folder


@torch.no_grad()
def a_little_off(model: LanguageModel) -> LanguageModel:
    """The same with every weight off by some 5%: an engine that draws from it is not the policy that is scored."""
    network = copy.deepcopy(model.network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(1 + 0.05 * torch.randn(weight.shape, generator=generator))
    return replace(model, network=network)


@torch.no_grad()
def next_logits(model: LanguageModel, prompt: list[int], written: list[int]) -> torch.Tensor:
    """The plainest way to the logits after `written`: one unpadded forward of the whole network, float64[V]."""
    if model.start_id is None:
        output = model.network(input_ids=torch.tensor([prompt + written], device=model.device))
    else:
        decoder = torch.tensor([[model.start_id, *written]], device=model.device)
        output = model.network(input_ids=torch.tensor([prompt], device=model.device), decoder_input_ids=decoder)
    return output.logits[0, -1, : model.vocabulary].double().cpu()


def sequence_probabilities(model: LanguageModel, prompt: list[int], limit: int) -> dict[tuple[int, ...], float]:
    """Every output of at most `limit` tokens (eos ends it) with its exact probability."""
    done: dict[tuple[int, ...], float] = {}
    open_ones: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(limit):
        grown: dict[tuple[int, ...], float] = {}
        for written, probability in open_ones.items():
            for token, share in enumerate(next_logits(model, prompt, list(written)).softmax(-1).tolist()):
                target = done if token in model.eos_ids else grown
                target[(*written, token)] = probability * share
        open_ones = grown
    return {**done, **open_ones}


def _calculator_split() -> pre_tokenizers.PreTokenizer:
    from tokenizers import Regex

    return pre_tokenizers.Split(Regex(r"<<|>>|."), "isolated")
