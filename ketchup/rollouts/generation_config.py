"""What a model's folder says of generation (generation_config.json) and no rollout follows.

Rollouts are drawn from the model's own distribution, which is what returns are an expectation over; penalties, cutoffs,
forced and forbidden tokens of a folder would make it another one.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from transformers import GenerationConfig

from ketchup.models.language_model import LanguageModel

SHAPELESS = {
    *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"),
    *("transformers_version", "do_sample", "max_length", "max_new_tokens", "use_cache", "cache_implementation"),
}
"""Settings that no distribution depends on, or that others of ours stand for."""
NEUTRAL = {
    **dict.fromkeys(("temperature", "top_p", "typical_p", "num_beams", "num_beam_groups", "num_return_sequences"), 1),
    **dict.fromkeys(("repetition_penalty", "encoder_repetition_penalty", "length_penalty", "guidance_scale"), 1),
    **dict.fromkeys(("top_k", "min_p", "epsilon_cutoff", "eta_cutoff", "min_length", "min_new_tokens"), 0),
    **dict.fromkeys(("no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "diversity_penalty"), 0),
}
"""Values that change nothing."""
LONGEST = 40

_log = logging.getLogger(__name__)


@contextmanager
def without_generation_config(model: LanguageModel) -> Iterator[None]:
    """Hides the folder's settings from `generate`, which fills with them whatever it is not told."""
    network: Any = model.network
    kept, network.generation_config = network.generation_config, GenerationConfig()
    try:
        yield
    finally:
        network.generation_config = kept


def say_what_is_left_out(model: LanguageModel) -> None:
    """Logs once what the folder asks for and does not get, if it asks for something."""
    asked = _asked(model)
    first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
    if asked and first:
        _say(f"{model.name}: its generation_config asks for {asked}, and no rollout follows that.")


@cache
def _say(sentence: str) -> None:
    _log.warning("%s", sentence)


def _asked(model: LanguageModel) -> str:
    given = getattr(model.network, "generation_config", None)
    settings: dict[str, Any] = given.to_diff_dict() if given else {}
    return ", ".join(f"{name} {_short(value)}" for name, value in sorted(settings.items()) if _shapes(name, value))


def _shapes(name: str, value: object) -> bool:
    """Whether a setting can change a distribution or where an output stops."""
    if name in SHAPELESS or name.startswith(("_", "output_", "return_")):
        return False
    if value is None or value is False or value in ([], {}):
        return False
    return name not in NEUTRAL or value != NEUTRAL[name]


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
