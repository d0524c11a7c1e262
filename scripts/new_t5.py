"""Makes an untrained T5 and its tokenizer from the texts of a task, to be trained by `ketchup train sft`.

Example: python scripts/new_t5.py --task demo --rows 20000 --vocabulary 400 --out runs/t5-init
"""

import argparse
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from ketchup.tasks import task as task_named
from ketchup.tasks.rows import load_examples

PAD, EOS, UNKNOWN = "<pad>", "</s>", "<unk>"


def new_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A BPE tokenizer with single digits, as arithmetic needs; runs of other signs stay together."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Split(Regex(r"\n"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Punctuation("contiguous"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[PAD, EOS, UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {EOS}", special_tokens=[(EOS, 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, unk_token=UNKNOWN)


def main() -> None:
    """Reads the options, writes the model folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--vocabulary", type=int, default=400)
    parser.add_argument("--width", type=int, default=160, help="d_model; d_ff is twice as much")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    task = task_named(options.task)
    examples = list(islice(load_examples(task, "train", options.data, options.rows), options.rows))
    texts = [
        text for example in examples for text in (task.prompts.source.format(source=example.source), example.reference)
    ]
    tokenizer = new_tokenizer(texts, options.vocabulary)
    torch.manual_seed(options.seed)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=options.width,
        d_ff=2 * options.width,
        d_kv=32,
        num_heads=options.width // 32,
        num_layers=options.layers,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    model = T5ForConditionalGeneration(config)
    model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens: {options.out}")  # noqa: T201


if __name__ == "__main__":
    main()
