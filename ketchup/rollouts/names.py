"""What engines are called, apart from them: a command that only says what it can do need not import torch."""

from ketchup.errors import UsageError

EngineName = str
READY = (
    "auto",
    "ctranslate2",
    "ctranslate2:int8",
    "ctranslate2:bfloat16",
    "ctranslate2:float16",
    "vllm",
    "vllm:bfloat16",
    "transformers",
)
"""What `--engine` takes without a plug-in. What follows a colon is the type that it computes in, where that is not the
model's own."""


def check_engine(name: EngineName) -> None:
    """Raises `UsageError` for an engine that is neither ready nor a plug-in's."""
    if name in READY:
        return
    from ketchup.rollouts.engines import ENGINES  # noqa: PLC0415  (torch, which a plug-in's has loaded)

    if name not in ENGINES:
        known = dict.fromkeys([*READY, *ENGINES])
        raise UsageError(f"--engine is {name!r}: use one of {', '.join(known)}, or name a --plugin that adds it.")
