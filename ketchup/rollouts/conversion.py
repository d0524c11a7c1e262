"""A model as CTranslate2's own files, which its converters make of the network in memory."""

import copy
import gc
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from ctranslate2.converters import transformers as converters

from ketchup.models.language_model import LanguageModel

OLDER_FIELDS = {
    "bart": {"normalize_before": False},
    "pegasus": {"normalize_before": True, "normalize_embedding": False},
}
"""What configurations once said and converters still ask for."""


def token_strings(model: LanguageModel) -> list[str]:
    """A name for each row of the head, those of padding too."""
    rows = model.network.get_output_embeddings().weight.shape[0]
    words = {index: token for token, index in model.tokenizer.get_vocab().items()}
    return [words.get(index, f"<row {index}>") for index in range(rows)]


def files_of(model: LanguageModel, strings: list[str]) -> dict[str, bytes]:
    """The converted model as CTranslate2's own files, in memory."""
    loader = copy.copy(converters._MODEL_LOADERS[type(model.network.config).__name__])
    loader.get_vocabulary = lambda *_: strings  # its own names for padding rows differ by architecture
    with torch.no_grad(), _quick_collections(), tempfile.TemporaryDirectory(dir=_memory_folder()) as folder:
        spec = loader(_shadow(model), model.tokenizer)
        for name in ("bos_token", "unk_token"):  # some have none; CTranslate2 wants strings, and never uses them here
            if getattr(spec.config, name) is None:
                setattr(spec.config, name, model.tokenizer.eos_token)
        spec.validate()
        spec.optimize()
        spec.save(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@contextmanager
def _quick_collections() -> Iterator[None]:
    """Converters call the garbage collector for every layer, which need not look at what was there before."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _shadow(model: LanguageModel) -> Any:
    """A copy that shares the weights: converters delete layers as they go and read settings under older names.

    They read weights on the CPU, so that those of a GPU are copied there.
    """
    network = model.network
    weights: dict[int, Any] = {id(tensor): _on_cpu(tensor) for tensor in [*network.parameters(), *network.buffers()]}
    shadow = copy.deepcopy(network, weights)
    config = shadow.config
    rope = getattr(config, "rope_parameters", None) or {}
    if "rope_theta" in rope:
        config.rope_theta = rope["rope_theta"]
    for name, value in OLDER_FIELDS.get(config.model_type, {}).items():
        setattr(config, name, value)
    # Converters take a tied T5 for one that scales its decoder's output. All are tied by their configuration now, and
    # mT5 never scales.
    config.tie_word_embeddings = getattr(config, "scale_decoder_outputs", config.model_type != "mt5")
    return shadow


def _on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    """The same one if it is there, or else a copy of its kind."""
    if tensor.device.type == "cpu":
        return tensor
    copied = tensor.detach().cpu()
    return torch.nn.Parameter(copied, requires_grad=False) if isinstance(tensor, torch.nn.Parameter) else copied


def _memory_folder() -> str | None:
    """A folder that lives in memory, where the system has one: weights need not touch the disk."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None
