"""Students made of some of a teacher's layers: the usual start of a smaller model with the same tokens."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from ketchup.errors import ModelError, UsageError

LISTS_BY_LAYER = ("layer_types", "mlp_layer_types", "no_rope_layers")
"""Lists of a configuration that hold one entry per layer."""


@dataclass(frozen=True)
class Stack:
    """Layers in a row: their number, the configuration's field for it, and how the names of their weights begin."""

    total: int
    field: str
    prefix: str


def evenly_spaced(total: int, keep: int) -> list[int]:
    """Which `keep` of `total` layers to keep: the first, the last, and others at distances that differ by at most one.

    A single one is the first. `keep` outside 1..`total` raises a `UsageError`.
    """
    if not 1 <= keep <= total:
        raise UsageError(f"Cannot keep {keep} of {total} layers; choose a number from 1 to {total}.")
    if keep == 1:
        return [0]
    return [(2 * step * (total - 1) + keep - 1) // (2 * (keep - 1)) for step in range(keep)]  # rounded, half up


def choose_layers(model: PreTrainedModel, layers: int, decoder_layers: int | None = None) -> dict[str, list[int]]:
    """The layers that `keep_layers` keeps, by the configuration's field for their number."""
    return {
        stack.field: evenly_spaced(stack.total, keep)
        for stack, keep in zip(_stacks(model), _numbers(model, layers, decoder_layers), strict=True)
    }


def keep_layers(model: PreTrainedModel, layers: int, decoder_layers: int | None = None) -> PreTrainedModel:
    """A new model with evenly spaced layers of `model`, and copies of all its other weights.

    In an encoder-decoder model `layers` counts those of the encoder, and of the decoder too unless `decoder_layers`
    is given. A number that the model does not have raises a `UsageError`; a model whose layers cannot be moved
    raises a `ModelError`.
    """
    chosen = choose_layers(model, layers, decoder_layers)
    config = copy.deepcopy(model.config)
    weights: Mapping[str, Tensor] = model.state_dict()
    for stack in _stacks(model):
        kept = chosen[stack.field]
        weights = _renumbered(weights, stack.prefix, kept)
        _shorten(config, stack.field, kept)
    model_class: Any = type(model)
    student: PreTrainedModel = model_class(config).to(device=model.device, dtype=model.dtype).eval()
    student.generation_config = copy.deepcopy(model.generation_config)
    try:
        # T5 has its position biases in the first layer of a stack only; that one is always kept
        student.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            f"The layers of a {type(model).__name__} cannot be moved, as each depends on its place; use another model."
        ) from error
    return student


def _numbers(model: PreTrainedModel, layers: int, decoder_layers: int | None) -> list[int]:
    if model.config.is_encoder_decoder:
        return [layers, layers if decoder_layers is None else decoder_layers]
    if decoder_layers is not None:
        raise UsageError("A number of decoder layers is for encoder-decoder models; this model has only one stack.")
    return [layers]


def _stacks(model: PreTrainedModel) -> list[Stack]:
    """The stacks of a model, encoder first."""
    if model.config.is_encoder_decoder:
        return [_stack(model, "encoder.", "num_layers"), _stack(model, "decoder.", "num_decoder_layers")]
    return [_stack(model, "", "num_hidden_layers")]


def _stack(model: PreTrainedModel, part: str, field: str) -> Stack:
    """The outermost list of modules in a part of the model that has as many as the configuration says."""
    total = getattr(model.config, field, None)
    for name, module in model.named_modules():
        if name.startswith(part) and isinstance(module, nn.ModuleList) and len(module) == total:
            return Stack(total, field, f"{name}.")
    raise ModelError(
        f"Where the layers of a {type(model).__name__} are is not known; use a model like T5, or a decoder-only one."
    )


def _renumbered(weights: Mapping[str, Tensor], prefix: str, kept: list[int]) -> dict[str, Tensor]:
    """Weights of the kept layers under their new numbers, and all that belong to no layer of this stack."""
    new_number = {str(old): str(new) for new, old in enumerate(kept)}
    renumbered = {}
    for name, weight in weights.items():
        if not name.startswith(prefix):
            renumbered[name] = weight
            continue
        old, rest = name.removeprefix(prefix).split(".", 1)
        if old in new_number:
            renumbered[f"{prefix}{new_number[old]}.{rest}"] = weight
    return renumbered


def _shorten(config: PretrainedConfig, field: str, kept: list[int]) -> None:
    """Make a configuration one of the kept layers."""
    for name in LISTS_BY_LAYER:
        if (entries := getattr(config, name, None)) is not None:
            setattr(config, name, [entries[layer] for layer in kept])
    setattr(config, field, len(kept))
