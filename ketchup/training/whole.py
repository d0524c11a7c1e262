"""The student as one ordinary model, for the engine that samples from it and the folder it is saved in.

While it trains it may be something else: a frozen model with adapters (LoRA) whose product is what counts, or one
that is spread over many processes.
"""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ketchup.errors import UsageError
from ketchup.models.language_model import LanguageModel
from ketchup.training.shards import ShardedModel, gathered


def with_adapters(student: LanguageModel, rank: int, seed: int) -> LanguageModel:
    """The model with LoRA adapters of this rank (Hu et al., 2022) on all its linear layers, everything else frozen.

    The adapters begin as no change; what they begin from is drawn from `seed`. α is twice the rank, without dropout.
    Raises `UsageError` where PEFT is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model  # noqa: PLC0415 # an extra
    except ImportError as error:
        raise UsageError("--lora needs PEFT; install it with pip install 'ketchup-kd[lora]'.") from error
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear")
        network: Any = get_peft_model(student.network, config).eval()
    return replace(student, network=network)


def has_adapters(student: LanguageModel) -> bool:
    """Whether only adapters are trained."""
    return hasattr(student.network, "merge_and_unload")


def whole(student: LanguageModel) -> LanguageModel:
    """The model itself, or a copy with its adapters merged into the weights they adapt.

    One that is spread over processes is gathered from all of them, so that all must ask for it.
    """
    if isinstance(student, ShardedModel):
        return gathered(student)
    if not has_adapters(student):
        return student
    merged: Any = copy.deepcopy(student.network)
    return replace(student, network=merged.merge_and_unload())


def trained_weights(student: LanguageModel) -> dict[str, Tensor]:
    """The weights that training moves, by name, on the CPU."""
    return {name: weight.detach().cpu() for name, weight in student.network.named_parameters() if weight.requires_grad}
