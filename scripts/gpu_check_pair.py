"""A decoder-only teacher and student of random weights for `gpu_check.sh`, which need no network: eight heads a layer.

python scripts/gpu_check_pair.py FOLDER
"""

import string
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SHARPNESS = 3.0
"""What the teacher's head is multiplied by, so that its values differ between tokens."""


def main(folder: Path) -> None:
    """Writes `teacher` and `student` into the folder, a token a character."""
    vocabulary = {token: index for index, token in enumerate(("<unk>", "</s>", *string.printable))}
    characters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    characters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    characters.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=characters, unk_token="<unk>", pad_token="</s>", eos_token="</s>"
    )
    for seed, name in enumerate(("teacher", "student")):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=512,
            intermediate_size=1024,
            num_hidden_layers=4,
            num_attention_heads=8,
            num_key_value_heads=4,
            max_position_embeddings=2048,
            bos_token_id=None,
            eos_token_id=1,
            pad_token_id=1,
        )
        network = LlamaForCausalLM(config)
        with torch.no_grad():
            network.lm_head.weight.mul_(SHARPNESS if name == "teacher" else 1.0)
        network.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
