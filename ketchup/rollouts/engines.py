"""The engines by name. A new one is a file with a class of the `Engine` protocol, a name in `names` and a row here."""

from collections.abc import Callable

from ketchup.errors import UsageError
from ketchup.models.language_model import LanguageModel
from ketchup.rollouts import ctranslate2_engine
from ketchup.rollouts.ctranslate2_engine import CTranslate2Engine
from ketchup.rollouts.generation_config import say_what_is_left_out
from ketchup.rollouts.names import EngineName
from ketchup.rollouts.transformers_engine import TransformersEngine
from ketchup.rollouts.types import Engine
from ketchup.rollouts.vllm_engine import VllmEngine

ENGINES: dict[str, Callable[[LanguageModel], Engine]] = {
    "ctranslate2": CTranslate2Engine,
    "vllm": VllmEngine,
    "transformers": TransformersEngine,
}


def engine(name: EngineName, model: LanguageModel) -> Engine:
    """The named engine with the model's weights; `auto` is CTranslate2 where it supports the model, else transformers.

    `auto` is never vLLM, which takes a share of the GPU's memory that only the user can know to be free.
    """
    fast = ctranslate2_engine.supports(model)
    if name == "ctranslate2" and not fast:
        raise UsageError(
            f"CTranslate2 does not support {model.name!r} ({type(model.network.config).__name__}, "
            f"{model.network.dtype}, {model.device.type}); use --engine transformers."
        )
    if name == "auto":
        name = "ctranslate2" if fast else "transformers"
    say_what_is_left_out(model)
    return ENGINES[name](model)
