"""The engines by name. A new one is a file with a class of the `Engine` protocol, a name in `names` and a row here."""

import logging
from collections.abc import Callable
from functools import cache

import torch

from ketchup.errors import UsageError
from ketchup.models.language_model import LanguageModel
from ketchup.rollouts import ctranslate2_engine
from ketchup.rollouts.ctranslate2_engine import CTranslate2Engine, CTranslate2Error
from ketchup.rollouts.generation_config import say_what_is_left_out
from ketchup.rollouts.names import EngineName
from ketchup.rollouts.transformers_engine import TransformersEngine
from ketchup.rollouts.types import Engine
from ketchup.rollouts.vllm_engine import VllmEngine

_log = logging.getLogger(__name__)

ENGINES: dict[str, Callable[[LanguageModel], Engine]] = {
    "ctranslate2": CTranslate2Engine,
    "vllm": VllmEngine,
    "transformers": TransformersEngine,
}


def engine(name: EngineName, model: LanguageModel) -> Engine:
    """The named engine with the model's weights; `auto` is CTranslate2 where it can sample it, else transformers.

    `auto` is never vLLM, which takes a share of the GPU's memory that only the user can know to be free.
    """
    say_what_is_left_out(model)
    if name == "auto":
        return _fastest(model)
    if name == "ctranslate2" and not ctranslate2_engine.supports(model):
        raise UsageError(
            f"CTranslate2 does not support {model.name!r} ({type(model.network.config).__name__}, "
            f"{model.network.dtype}, {model.device.type}); use --engine transformers."
        )
    return ENGINES[name](model)


def _fastest(model: LanguageModel) -> Engine:
    if ctranslate2_engine.supports(model):
        try:
            return CTranslate2Engine(model)
        except CTranslate2Error as error:
            _say(f"{error.reason}; it is sampled with transformers.")
    return TransformersEngine(model)


@cache
def _say(sentence: str) -> None:
    """Once: an engine is made anew for each student, split and set of teacher outputs."""
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        _log.warning("%s", sentence)
