"""The engines by name. A new one is a file with a class of the `Engine` protocol and a row here."""

from typing import Literal

from ketchup.errors import UsageError
from ketchup.models.language_model import LanguageModel
from ketchup.rollouts import ctranslate2_engine
from ketchup.rollouts.ctranslate2_engine import CTranslate2Engine
from ketchup.rollouts.transformers_engine import TransformersEngine
from ketchup.rollouts.types import Engine

EngineName = Literal["auto", "ctranslate2", "transformers"]


def engine(name: EngineName, model: LanguageModel) -> Engine:
    """The named engine with the model's weights; `auto` is CTranslate2 where it supports the model."""
    fast = ctranslate2_engine.supports(model)
    if name == "ctranslate2" and not fast:
        raise UsageError(
            f"CTranslate2 does not support {model.name!r} ({type(model.network.config).__name__}, "
            f"{model.network.dtype}, {model.device.type}); use --engine transformers."
        )
    return TransformersEngine(model) if name == "transformers" or not fast else CTranslate2Engine(model)
