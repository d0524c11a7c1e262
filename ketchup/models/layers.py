"""Students made of some of a teacher's layers: the usual start of a smaller model with the same tokens.

A student is held against its teacher with the other layers skipped before it is handed out: what a configuration says
of weights and layers is not always what a checkpoint holds.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from ketchup.errors import ModelError, UsageError
from ketchup.models.probe import Text, own_logits, reach, reason_of, relative_error

LISTS_BY_LAYER = ("layer_types", "mlp_layer_types", "no_rope_layers")
"""Lists of a configuration that hold one entry per layer."""
NUMBERS_OF_LAYERS = (("num_layers", "num_decoder_layers"), ("encoder_layers", "decoder_layers"))
"""What encoder-decoder configurations call the numbers of their layers: T5 and its kin, BART and its."""
SAME = 1e-5
"""Largest relative error of logits that come from the same weights by the same operations."""


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
    is given. A number that the model does not have raises a `UsageError`; a model whose layers cannot be moved, or do
    something else in the student, raises a `ModelError`.
    """
    chosen = choose_layers(model, layers, decoder_layers)
    try:
        student = _made_of(model, chosen)
        with _only(model, chosen):
            expected = _logits(model)
        gap = relative_error(_logits(student), expected)
    except Exception as error:  # of any kind: configurations and networks refuse in their own ways
        raise ModelError(
            f"The layers of a {type(model).__name__} cannot be moved, as each depends on its place "
            f"({reason_of(error)}); use another model."
        ) from error
    if not gap < SAME:
        raise ModelError(
            f"The kept layers of a {type(model).__name__} do something else in a student (logits are off by {gap:.2g} "
            "of their spread); use another model."
        )
    return student


def check_saved(student: PreTrainedModel, folder: Path) -> None:
    """Raises `ModelError` where the folder that a student was saved in holds another model."""
    loaded: Any = type(student).from_pretrained(folder, dtype=student.dtype).eval()
    loaded.to(student.device)
    gap = relative_error(_logits(loaded), _logits(student))
    if not gap < SAME:
        raise ModelError(
            f"A {type(student).__name__} is not the same after it is saved and loaded (logits are off by {gap:.2g} of "
            "their spread); use another model."
        )


def _made_of(model: PreTrainedModel, chosen: Mapping[str, list[int]]) -> PreTrainedModel:
    config = copy.deepcopy(model.config)
    weights: Mapping[str, Tensor] = model.state_dict()
    for stack in _stacks(model):
        kept = chosen[stack.field]
        weights = _renumbered(weights, stack.prefix, kept)
        _shorten(config, stack.field, kept)
    model_class: Any = type(model)
    student: PreTrainedModel = model_class(config).to(device=model.device, dtype=model.dtype).eval()
    student.generation_config = copy.deepcopy(model.generation_config)
    _untie(student, model)
    # T5 has its position biases in the first layer of a stack only; that one is always kept
    student.load_state_dict(weights)
    return student


def _logits(model: PreTrainedModel) -> Tensor:
    """The network's own, in float32, of a text longer than any window."""
    embeddings: Any = model.get_input_embeddings()
    rows = len(embeddings.weight)
    ids = [index % rows for index in range(2, reach(model.config) + 24)]
    start = 0 if model.config.is_encoder_decoder else None
    training = model.training
    found = own_logits(model.eval(), Text(ids[:-8], ids[-8:]), start, model.device).float()
    model.train(training)
    return found


def _untie(student: PreTrainedModel, teacher: PreTrainedModel) -> None:
    """Gives the student weights of their own where the teacher has them, whatever its configuration ties.

    T5 v1.1, FLAN-T5 and mT5 checkpoints have a head of their own, under a configuration that counts as tied.
    """
    for name, source in list(student.all_tied_weights_keys.items()):
        if teacher.get_parameter(name) is not teacher.get_parameter(source):
            place, _, last = name.rpartition(".")
            setattr(student.get_submodule(place), last, nn.Parameter(student.get_parameter(name).detach().clone()))
            student.all_tied_weights_keys.pop(name)


@contextmanager
def _only(model: PreTrainedModel, chosen: Mapping[str, list[int]]) -> Iterator[None]:
    """The model without all but the chosen layers, for as long as the block lasts."""
    config: Any = model.config
    before = {name: getattr(config, name) for name in (*LISTS_BY_LAYER, *chosen) if hasattr(config, name)}
    lists = {stack.prefix.removesuffix("."): stack.field for stack in _stacks(model)}
    whole = {place: model.get_submodule(place) for place in lists}
    for place, field in lists.items():
        layers: Any = whole[place]
        model.set_submodule(place, nn.ModuleList([layers[number] for number in chosen[field]]))
        _shorten(config, field, chosen[field])
    try:
        yield
    finally:
        for place, layers in whole.items():
            model.set_submodule(place, layers)
        for name, value in before.items():
            with suppress(AttributeError):
                setattr(config, name, value)


def _numbers(model: PreTrainedModel, layers: int, decoder_layers: int | None) -> list[int]:
    if model.config.is_encoder_decoder:
        return [layers, layers if decoder_layers is None else decoder_layers]
    if decoder_layers is not None:
        raise UsageError("A number of decoder layers is for encoder-decoder models; this model has only one stack.")
    return [layers]


def _stacks(model: PreTrainedModel) -> list[Stack]:
    """The stacks of a model, encoder first."""
    if not model.config.is_encoder_decoder:
        return [_stack(model, ".", "num_hidden_layers")]
    fields = next((pair for pair in NUMBERS_OF_LAYERS if hasattr(model.config, pair[1])), NUMBERS_OF_LAYERS[0])
    return [_stack(model, part, field) for part, field in zip((".encoder.", ".decoder."), fields, strict=True)]


def _stack(model: PreTrainedModel, part: str, field: str) -> Stack:
    """The outermost list of modules in a part of the model that has as many as the configuration says."""
    total = getattr(model.config, field, None)
    for name, module in model.named_modules():
        if part in f".{name}" and isinstance(module, nn.ModuleList) and len(module) == total:
            return Stack(total, field, f"{name}.")
    raise ModelError(
        f"Where the layers of a {type(model).__name__} are is not known; use a model like T5 or BART, or a "
        "decoder-only one."
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
    lists = {name: getattr(config, name) for name in LISTS_BY_LAYER if getattr(config, name, None) is not None}
    for name, entries in lists.items():
        with suppress(AttributeError):  # one that follows from the number of layers
            setattr(config, name, [entries[layer] for layer in kept])
    setattr(config, field, len(kept))
