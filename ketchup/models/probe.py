"""Whether a model is read as its own forward pass reads it.

The passes of `language_model` assume much of an architecture: that a cache of the prompt can be shared, that padding
changes nothing, that logits are what the head says. So when a model is loaded, each way of reading is held against
the plainest there is: one text at a time, unpadded, through the network and its own head. Texts are of unequal length
and longer than any window or chunk that the configuration names, as that is where ways part. Engines are tried on the
same texts.
"""

import math
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from inspect import signature
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from ketchup.errors import ModelError, RunError
from ketchup.files import read_kept_json, write_kept_json
from ketchup.hashes import content_hash, file_hash
from ketchup.models import language_model
from ketchup.models.builtin import cache_folder
from ketchup.models.language_model import LanguageModel, Reading, context, hidden_states, logits, pad

REACHES = ("window", "chunk", "block", "radius", "local", "kernel")
"""What the names of a configuration's numbers hold where the number is a distance beyond which layers see less."""
LONGEST = 4200
"""Most tokens of a text that is tried; a model with a longer window does not share prompts."""
UNLIMITED = 1 << 30
"""Tokens of a text where no limit is stated."""
ANSWER = 12
"""Actions of a text: more than a short convolution sees."""
TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.05, torch.bfloat16: 0.25}
"""Largest relative error of a text's logits that rounding may be blamed for; a wrong reading is off by 0.2 to 1.5."""
EXCLUDED = -6e4
"""A logit below this, the least number of a float type or so, keeps a token from being drawn."""
SLOW = 1.0
"""Seconds from which on what was found is kept in a file, as a small model is tried sooner than a file is written."""


READINGS: tuple[Reading, ...] = ("shared", "joint", "whole")


class Text(NamedTuple):
    """A prompt and what was written after it, as ids."""

    prompt: list[int]
    answer: list[int]


def with_reading(model: LanguageModel) -> LanguageModel:
    """The model with the cheapest way of reading that gives its own logits.

    Raises `ModelError` where there is none, as for a network that sees what comes later or in which texts of a batch
    are not independent.
    """
    kept = cache_folder() / "readings" / f"{_key(model)}.json"
    with suppress(RunError):
        known: Any = read_kept_json(kept, "delete it").get("reading")
        if known in READINGS:
            return replace(model, reading=known)
    start = monotonic()
    reading = _cheapest(model)
    if monotonic() - start > SLOW:
        with suppress(RunError):  # where there is no room to keep it, it is found again
            write_kept_json(kept, {"reading": reading})
    return replace(model, reading=reading)


def trial_texts(model: LanguageModel, least: int = 24) -> list[Text]:
    """Three texts to try a model on: two prompts longer than its reach and than `least` tokens, and one of a token.

    The tokens are ordinary ones, the same each time.
    """
    drawn = random.Random(0)
    ordinary = _ordinary_tokens(model)
    room = _positions(model.network.config)
    answer = max(2, min(ANSWER, room // 3))
    longest = max(2, min(max(least, reach(model.network.config)) + 8, room - answer))
    lengths = (longest, max(1, longest - 5), 1)
    return [Text(*(drawn.choices(ordinary, k=size) for size in (length, answer))) for length in lengths]


def reach(config: PretrainedConfig) -> int:
    """The longest window or chunk that a configuration names and texts can exceed, as far as they are tried."""
    return max((size for size in _reaches(config) if size <= LONGEST), default=0)


def plain_logits(model: LanguageModel, text: Text) -> Tensor:
    """Logits `[T, V]` of each action in float32 as the network itself computes them, from one unpadded text."""
    return own_logits(model.network, text, model.start_id, model.device)[:, : model.vocabulary].float()


@torch.no_grad()
def own_logits(network: PreTrainedModel, text: Text, start_id: int | None, device: torch.device) -> Tensor:
    """What a network's own forward pass says of each token of the answer; `start_id` is that of a decoder's start."""
    prompt, answer = (torch.tensor([ids], device=device) for ids in text)
    if start_id is not None:
        start = torch.full_like(answer[:, :1], start_id)
        read = {"input_ids": prompt, "decoder_input_ids": torch.cat([start, answer[:, :-1]], dim=1)}
    else:
        read = {"input_ids": torch.cat([prompt, answer[:, :-1]], dim=1)}
    last = len(text.answer)
    # Of a long prompt times a large vocabulary only the end is needed, where a network can be told so.
    accepted = "logits_to_keep" in signature(network.forward).parameters
    kept: dict[str, Any] = {"logits_to_keep": last} if accepted else {}
    output: Tensor = network(**read, **kept, use_cache=False).logits[0, -last:]
    return output


def relative_error(ours: Tensor, plain: Tensor) -> float:
    """How far logits `[T, V]` are from the plain ones, in units of their spread over the vocabulary; mean over T.

    Tokens that a network excludes must be those that ours exclude. Where any is not a number, the error is infinite.
    """
    excluded = plain < EXCLUDED
    if not torch.equal(ours < EXCLUDED, excluded):
        return math.inf
    ours, plain = ours.masked_fill(excluded, 0), plain.masked_fill(excluded, 0)
    spread = (plain - plain.mean(-1, keepdim=True)).norm(dim=-1)
    error = float(((ours - plain).norm(dim=-1) / spread.clamp(min=1e-6)).mean())
    return error if math.isfinite(error) else math.inf


def _cheapest(model: LanguageModel) -> Reading:
    texts = trial_texts(model)
    try:
        plain = [plain_logits(model, text) for text in texts]
    except Exception as error:  # of any kind: architectures fail in their own ways, here and below
        raise ModelError(f"{model.name!r} cannot read a text ({reason_of(error)}); use another model.") from error
    found = ""
    for reading in READINGS:
        if reading == "shared" and any(size > LONGEST for size in _reaches(model.network.config)):
            continue
        try:
            gap = _error(replace(model, reading=reading), texts, plain)
        except Exception as error:
            found = reason_of(error)
            continue
        if gap < TOLERANCE.get(model.network.dtype, 0.0):
            return reading
        found = f"off by {gap:.2g} of their spread"
    raise ModelError(
        f"{model.name!r} computes other logits for texts in a batch than for each alone ({found}), so that nothing it "
        "scores could be trusted; use another model."
    )


@torch.no_grad()
def _error(model: LanguageModel, texts: list[Text], plain: list[Tensor]) -> float:
    """The worst relative error of the texts, read in one batch as rollouts are; a prompt has a second, shorter one."""
    first = len(texts[1].answer) // 2
    rows, expected = [*texts, Text(texts[1].prompt, texts[1].answer[:first])], [*plain, plain[1][:first]]
    inputs = torch.tensor([*range(len(texts)), 1], device=model.device)
    actions, mask = pad([text.answer for text in rows], model.pad_id)
    shared = context(model, [text.prompt for text in texts])
    hidden = hidden_states(model, shared, inputs, actions.to(model.device))
    return max(
        relative_error(logits(model, row[kept]), of_text)
        for row, kept, of_text in zip(hidden, mask.to(model.device), expected, strict=True)
    )


def _ordinary_tokens(model: LanguageModel) -> list[int]:
    """Tokens with no meaning of their own; all but those that end or pad where there are no others."""
    marks = {*model.eos_ids, model.pad_id, model.start_id}
    special = marks.union(model.tokenizer.all_special_ids, model.tokenizer.added_tokens_decoder)
    ordinary = [index for index in range(model.vocabulary) if index not in special]
    return ordinary or [index for index in range(model.vocabulary) if index not in marks] or [0]


def _positions(config: PretrainedConfig) -> int:
    """Most tokens of a text, so far as it is limited."""
    stated = [getattr(part, "max_position_embeddings", None) for part in _parts(config)]
    return min([size for size in stated if isinstance(size, int) and size > 0], default=UNLIMITED)


def _reaches(config: PretrainedConfig) -> Iterator[int]:
    for part in _parts(config):
        for name, value in part.to_dict().items():
            if any(word in name for word in REACHES):
                sizes = value if isinstance(value, list) else [value]
                yield from (size for size in sizes if isinstance(size, int) and size < _positions(config))


def _parts(config: PretrainedConfig) -> Iterator[PretrainedConfig]:
    """A configuration and those within it that are about text."""
    yield config
    for name, part in vars(config).items():
        if isinstance(part, PretrainedConfig) and name in ("text_config", "encoder", "decoder", "text_encoder"):
            yield from _parts(part)


def _key(model: LanguageModel) -> str:
    """Changes with all that decides how a model can be read: its files, its type and place, and the code that reads."""
    code = [file_hash(Path(module)) for module in (__file__, language_model.__file__)]
    place = [str(model.network.dtype), model.device.type]
    return content_hash([model.fingerprint, *place, torch.__version__, transformers.__version__, *code])


def reason_of(error: Exception) -> str:
    """An error of a library in a few words."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
