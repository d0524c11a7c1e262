"""A teacher and a student of random weights, small enough to train in seconds: they stand for one's own."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

LETTERS = "abcdefghij"
PROMPTS = ["a", "bad", "cab", "ace", "dig", "each", "fig", "gab"]


def tiny_pair() -> tuple[LlamaForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Teacher, student and the tokenizer of both, which has a token a letter and pads on the left."""
    vocabulary = {token: index for index, token in enumerate(("<pad>", "</s>", *LETTERS))}
    letters = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    letters.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=letters, pad_token="<pad>", eos_token="</s>", padding_side="left"
    )
    return _network(len(vocabulary), seed=0, sharpness=6.0), _network(len(vocabulary), seed=1, sharpness=1.0), tokenizer


def _network(vocabulary: int, seed: int, sharpness: float) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    network = LlamaForCausalLM(config)
    with torch.no_grad():
        network.lm_head.weight.mul_(sharpness * 10)
    return network.eval()
