"""The engines by name. A new one is a file with a class of the `Engine` protocol, a name in `names` and a row here."""

import logging
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch

from ketchup.choices import READY_ENGINES, EngineName
from ketchup.errors import UsageError
from ketchup.failing import failing
from ketchup.models.language_model import LanguageModel
from ketchup.rollouts import ctranslate2_engine
from ketchup.rollouts.ctranslate2_engine import CTranslate2Engine, CTranslate2Error
from ketchup.rollouts.generation_config import say_what_is_left_out
from ketchup.rollouts.names import row_of
from ketchup.rollouts.transformers_engine import TransformersEngine
from ketchup.rollouts.types import Decoding, Engine
from ketchup.rollouts.vllm_engine import VllmEngine
from ketchup.table import Table

_log = logging.getLogger(__name__)

ENGINES: Table[Callable[..., Engine]] = Table(
    Callable,
    {
        "ctranslate2": CTranslate2Engine,
        "ctranslate2:int8": partial(CTranslate2Engine, computes="int8"),
        "ctranslate2:bfloat16": partial(CTranslate2Engine, computes="bfloat16"),
        "ctranslate2:float16": partial(CTranslate2Engine, computes="float16"),
        "vllm": VllmEngine,
        "vllm:bfloat16": partial(VllmEngine, computes=torch.bfloat16),
        "transformers": TransformersEngine,
    },
)


class Choice(NamedTuple):
    """An engine and why it is that one, as a manifest says it."""

    engine: Engine
    why: str

    def __str__(self) -> str:
        return f"{self.engine.name} on {self.engine.model.device} ({self.why})"


def choose(name: EngineName, model: LanguageModel) -> Choice:
    """The named engine with the model's weights; `auto` is CTranslate2 where it can sample it, else transformers.

    On a GPU too, if CTranslate2's build and libraries are there for it. What `auto` leaves aside is said once. It is
    never vLLM, which takes a share of the GPU's memory that only the user can know to be free.
    """
    say_what_is_left_out(model)
    if name == "auto":
        return _fastest(model)
    row, parts = row_of(name)
    library, _, computes = row.partition(":")
    if library == "ctranslate2" and (reason := ctranslate2_engine.reason_against(model, computes or "float32")):
        raise UsageError(f"{reason}; use --engine transformers.")
    if row in READY_ENGINES:
        return Choice(ENGINES[row](model) if parts == 1 else ENGINES[row](model, parts=parts), "asked for")
    with failing(f"The engine {row}"):
        found = ENGINES[row](model)
    lacking = [part for part in ("name", "mends", "model", "sample", "tells", "update") if not hasattr(found, part)]
    if lacking:
        raise UsageError(f"The engine {row} lacks {', '.join(lacking)} of ketchup.rollouts.types.Engine; add them.")
    return Choice(found, "asked for")


def check_tells(engine: Engine, decoding: Decoding) -> None:
    """Raises `UsageError` where `--correct-sampler` would have nothing to correct by."""
    if not engine.tells(decoding):
        raise UsageError(
            f"--correct-sampler needs the log-probabilities that rollouts are drawn with, and {engine.name} does not "
            "tell them with --temperature or --top-k; leave those out, or use --engine transformers."
        )


def engine(name: EngineName, model: LanguageModel) -> Engine:
    """What `choose` takes."""
    return choose(name, model).engine


def _fastest(model: LanguageModel) -> Choice:
    reason = ctranslate2_engine.reason_against(model)
    if reason is None:
        try:
            return Choice(CTranslate2Engine(model), "the fastest that draws from the model's own distribution")
        except CTranslate2Error as error:
            reason = error.reason
    _say(f"{reason}; it is sampled with transformers.")
    return Choice(TransformersEngine(model), reason)


@cache
def _say(sentence: str) -> None:
    """Once: an engine is made anew for each student, split and set of teacher outputs."""
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        _log.warning("%s", sentence)
