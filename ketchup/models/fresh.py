"""An untrained T5 and its tokenizer, from the texts of a task: what a teacher of one's own can begin as."""

from collections.abc import Iterable, Iterator
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from ketchup import checks
from ketchup.devices import seeded
from ketchup.errors import UsageError
from ketchup.tasks.base import Input, Task

PAD, EOS, UNKNOWN = "<pad>", "</s>", "<unk>"
HEAD = 32
"""Numbers of an attention head."""


def texts_of(task: Task, inputs: Iterable[Input]) -> Iterator[str]:
    """All that a model of the task reads and writes."""
    for one in inputs:
        yield task.prompts.source.format(source=one.source)
        yield one.reference


def new_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A BPE tokenizer with single digits, as arithmetic needs; runs of other signs stay together."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    split: Any = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Split(Regex(r"\n"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Punctuation("contiguous"),
        ]
    )
    joined: Any = decoders.Metaspace(prepend_scheme="first")
    tokenizer.pre_tokenizer, tokenizer.decoder = split, joined
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[PAD, EOS, UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    ends: Any = processors.TemplateProcessing(single=f"$A {EOS}", special_tokens=[(EOS, 1)])
    tokenizer.post_processor = ends
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, unk_token=UNKNOWN)


def new_t5(tokenizer: PreTrainedTokenizerFast, layers: int, width: int, seed: int) -> T5ForConditionalGeneration:
    """A T5 1.1 of so many layers in encoder and decoder, weights drawn from `seed`; heads have 32 numbers.

    Raises `UsageError` for a width that is no multiple of 32.
    """
    checks.whole("--width", width, least=HEAD)
    if width % HEAD:
        raise UsageError(f"--width must be a multiple of {HEAD}, the numbers of a head, not {width}.")
    ids: dict[str, Any] = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
    }
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_ff=2 * width,
        d_kv=HEAD,
        num_heads=width // HEAD,
        num_layers=layers,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        **ids,
    )
    with seeded(seed):
        return T5ForConditionalGeneration(config)
