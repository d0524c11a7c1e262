"""What engines are called, apart from them: a command that only says what it can do need not import torch."""

from typing import Literal

EngineName = Literal["auto", "ctranslate2", "vllm", "transformers"]
