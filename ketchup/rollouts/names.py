"""What engines are called, apart from them: a command that only says what it can do need not import torch."""

from typing import Literal

EngineName = Literal[
    "auto",
    "ctranslate2",
    "ctranslate2:int8",
    "ctranslate2:bfloat16",
    "ctranslate2:float16",
    "vllm",
    "vllm:bfloat16",
    "transformers",
]
"""What follows a colon is the type that it computes in, where that is not the model's own."""
