"""One interface for encoder-decoder (T5-like) and decoder-only models.

Axes: B inputs, R rollouts (rows), S prompt tokens, T actions, H hidden units, V vocabulary.

Both kinds are seen as *context, then decoder*: the context (encoder output, or the key-value cache of the prompt but
for its last token) is computed once per input and shared by all its rollouts; the decoder then reads
[first, a_0, ..., a_{T-2}], where `first` is the decoder's start token or the prompt's last token, so that position t
of its output always predicts action a_t.

Not every architecture can be read so; `Reading` names the ways, and `ketchup.models.probe` finds out which of them
give what the network itself computes.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from packaging.version import Version
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import DynamicCache, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

CACHE = "cache" if Version(version("transformers")) >= Version("5.24") else "past_key_values"
"""What the installed transformers calls the key-value cache of a forward pass."""
CAP = "final_logit_softcapping"
"""The field of a configuration that bounds logits: c tanh(logit / c)."""
BIAS = "final_logits_bias"
"""The buffer that BART and its kin add to the logits."""

Reading = Literal["shared", "joint", "whole"]
"""How prompt and actions are read, cheapest first: `shared`, the prompt once for all its rollouts; `joint`, the prompt
again with each of them; `whole`, the same with the network's own head and whatever it does after it. The first two
apply the head in chunks, so that no [R, T, V] tensor exists."""


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A network with its tokenizer and the ids that matter.

    `vocabulary` is the number of tokens that have a meaning: rows of the head beyond it are padding, never sampled,
    never part of a maximum or a sum over the vocabulary. `eos_ids` are the tokens that end an output, whichever is
    written first; they are actions like any other. `start_id` is the decoder's start token, `None` for decoder-only
    models. `fingerprint` changes whenever weights, configuration or tokenizer do. `max_tokens` is the most that a
    model can read: of prompt and output together, or of either where an encoder reads the prompt; `None` is no limit.
    `reading` is the cheapest way that gives what the network itself computes.
    """

    name: str
    network: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    vocabulary: int
    eos_ids: tuple[int, ...]
    pad_id: int
    start_id: int | None
    fingerprint: str
    max_tokens: int | None
    reading: Reading = field(default="shared", kw_only=True)

    @property
    def eos_id(self) -> int:
        """The tokenizer's own end, which references get."""
        return self.eos_ids[0]

    @property
    def encoder_decoder(self) -> bool:
        """True for T5-like models."""
        return self.start_id is not None

    @property
    def device(self) -> torch.device:
        """Where passes begin and end: where the weights are, or the first of the devices that they are spread over."""
        spread: dict[str, Any] = getattr(self.network, "hf_device_map", {})
        computing = [place for place in spread.values() if place not in ("cpu", "disk")]
        if spread:
            return torch.device(computing[0] if computing else "cpu")
        return self.network.device

    @property
    def spread(self) -> bool:
        """Whether layers fetch their weights from several places; such a model stays where it is."""
        return bool(getattr(self.network, "hf_device_map", {}))


@dataclass(frozen=True)
class Context:
    """What all rollouts of an input share: `mask[B, S]` over prompt tokens and what was computed from them.

    `first[B, 1]` is what the decoder reads right before the actions: its start token, or the prompt's last token, the
    others being in `cache`. `prompt[B, S]`, right-padded, is what has yet to be read, by an encoder, or by a decoder
    that then has no `first`.
    """

    mask: Tensor
    first: Tensor | None
    prompt: Tensor | None
    encoded: Tensor | None
    cache: "DynamicCache | None"

    @property
    def ahead(self) -> int:
        """Most tokens that are read with each row, before its own."""
        read = 0 if self.prompt is None else self.prompt.shape[1]
        return read if self.first is None else read + 1


def pad(rows: Sequence[Sequence[int]], value: int, *, left: bool = False) -> tuple[Tensor, Tensor]:
    """Rows of ids as `ids[R, S]` and `mask[R, S]`; the mask comes from lengths, so `value` may also be a real token."""
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), value, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[index, place] = torch.tensor(row, dtype=torch.long)
        mask[index, place] = True
    return ids, mask


def until_eos(model: LanguageModel, ids: Sequence[int]) -> list[int]:
    """The ids up to the first that ends an output, that one included; all of them where none does."""
    ends = (place for place, index in enumerate(ids) if index in model.eos_ids)
    return list(ids[: next(ends, len(ids)) + 1])


def context(model: LanguageModel, prompts: Sequence[Sequence[int]], *, shared: bool = True) -> Context:
    """Runs the prompts once: encoder output, or key-value pairs of all but each prompt's last token.

    Prompts are padded on the right, but on the left for such pairs, where the last token of every prompt must stand
    next to the first action. With `shared=False`, or a model that cannot share, nothing is computed ahead, and prompt
    and actions are read in one pass, which costs less where every input has a single rollout and keeps training to one
    forward.
    """
    shared = shared and model.reading == "shared"
    if model.encoder_decoder or not shared or max(map(len, prompts)) == 1:
        return _unpadded_context(model, prompts, shared=shared)
    ids, mask = pad(prompts, model.pad_id, left=True)
    ids, mask = ids.to(model.device), mask.to(model.device)
    from transformers import DynamicCache  # noqa: PLC0415  (the import takes seconds, and few commands come here)

    cache = DynamicCache(config=model.network.config)
    with _headless(model):
        model.network(
            input_ids=ids[:, :-1],
            attention_mask=mask[:, :-1].long(),
            position_ids=_positions(mask)[:, :-1],
            use_cache=True,
            **{CACHE: cache},
        )
    return Context(mask, ids[:, -1:], None, None, cache)


def _unpadded_context(model: LanguageModel, prompts: Sequence[Sequence[int]], *, shared: bool) -> Context:
    ids, mask = pad(prompts, model.pad_id)
    ids, mask = ids.to(model.device), mask.to(model.device)
    if not model.encoder_decoder:
        return Context(mask, None, ids, None, None)
    first = torch.full_like(ids[:, :1], int(model.start_id or 0))
    if not shared:
        return Context(mask, first, ids, None, None)
    encoded = model.network.get_encoder()(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    return Context(mask, first, None, encoded.to(model.device), None)


def hidden_states(model: LanguageModel, shared: Context, rows: Tensor, actions: Tensor) -> Tensor:
    """States that predict each action: `hidden[R, T, H]`, ready for `logits`.

    `rows[R]` names the input of each row in `shared`; `actions[R, T]` is right-padded with any ids, which cannot
    reach an earlier position (attention is causal). Position t depends on the prompt and on actions before t only.
    """
    with _headless(model):
        if model.encoder_decoder:
            return _decoded(model, shared, rows, actions)
        if shared.cache is None:
            return _read_together(model, shared, rows, actions)
        return _continued(model, shared, rows, actions)


def logits(model: LanguageModel, hidden: Tensor) -> Tensor:
    """The head: `hidden[..., H]` to `logits[..., V]` in float32, padding rows of the vocabulary left out."""
    if model.reading == "whole":
        return hidden[..., : model.vocabulary].float()
    network: Any = model.network
    raw: Tensor = network.get_output_embeddings()(hidden)
    bias = getattr(network, BIAS, None)
    if bias is not None:
        raw = raw + bias[0].to(raw.device)
    raw = raw[..., : model.vocabulary]
    cap = logit_cap(model)
    return (raw if cap is None else cap * torch.tanh(raw / cap)).float()


def logit_cap(model: LanguageModel) -> float | None:
    """The c of a network whose logits are c tanh(raw / c)."""
    cap: float | None = getattr(_decoder_config(model), CAP, None)
    return cap


def _decoded(model: LanguageModel, shared: Context, rows: Tensor, actions: Tensor) -> Tensor:
    """By the decoder of an encoder-decoder model."""
    assert shared.first is not None
    from transformers.modeling_outputs import BaseModelOutput  # noqa: PLC0415

    encoded = None if shared.encoded is None else BaseModelOutput(last_hidden_state=shared.encoded[rows])
    hidden: Tensor = model.network(
        input_ids=None if shared.prompt is None else shared.prompt[rows],
        encoder_outputs=encoded,
        attention_mask=shared.mask[rows].long(),
        decoder_input_ids=torch.cat([shared.first[rows], actions[:, :-1]], dim=1),
        use_cache=False,
    ).logits
    return hidden


def _continued(model: LanguageModel, shared: Context, rows: Tensor, actions: Tensor) -> Tensor:
    """By a decoder that has read the prompts but for their last tokens."""
    assert shared.first is not None
    assert shared.cache is not None
    length = actions.shape[1]
    mask = shared.mask[rows]
    grown = torch.cat([mask, mask.new_ones(len(rows), length - 1)], dim=1)
    hidden: Tensor = model.network(
        input_ids=torch.cat([shared.first[rows], actions[:, :-1]], dim=1),
        attention_mask=grown.long(),
        position_ids=_positions(grown)[:, -length:],
        use_cache=True,
        **{CACHE: _rows_of(shared.cache, rows)},
    ).logits
    return hidden


def _read_together(model: LanguageModel, shared: Context, rows: Tensor, actions: Tensor) -> Tensor:
    """By a decoder that reads prompt, actions and then padding, which no position before it can see."""
    assert shared.prompt is not None
    lengths = shared.mask.sum(1)[rows, None]
    length = actions.shape[1]
    width = int(lengths.max()) + length - 1
    place = torch.arange(width, device=actions.device) - lengths
    prompts = F.pad(shared.prompt[rows], (0, length))[:, :width]
    tokens = torch.where(place < 0, prompts, actions.gather(1, place.clamp(0, length - 1)))
    hidden: Tensor = model.network(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False).logits
    predicting = lengths - 1 + torch.arange(length, device=actions.device)
    return hidden[torch.arange(len(rows), device=actions.device)[:, None], predicting]


def _rows_of(cache: "DynamicCache", rows: Tensor) -> "DynamicCache":
    """What a cache holds of these rows, with whatever its layers know beside keys and values."""
    chosen = copy.copy(cache)
    chosen.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in chosen.layers:
        for name, value in vars(layer).items():
            if isinstance(value, dict):  # states by number, each put in its place anew
                setattr(layer, name, dict(value))
    chosen.reorder_cache(rows)  # type: ignore[arg-type]  # the stubs know old names of tensors
    return chosen


def _positions(mask: Tensor) -> Tensor:
    return (mask.long().cumsum(-1) - 1).clamp(min=0)


def _decoder_config(model: LanguageModel) -> "PretrainedConfig":
    """The configuration of what writes: in a composite model, one of several."""
    from transformers import PretrainedConfig  # noqa: PLC0415

    config: PretrainedConfig = model.network.config
    parts = (getattr(config, name, None) for name in ("decoder", "text_config"))
    return next((part for part in parts if isinstance(part, PretrainedConfig)), config)


@contextmanager
def _headless(model: LanguageModel) -> Iterator[None]:
    """Lets the forward pass end before the vocabulary head, so that no [R, T, V] tensor ever exists.

    Swapping the head for the identity works for every architecture and keeps what a model does just before it
    (T5 scales the state when embeddings are tied), and factors after it. A cap or a bias after it is left out.
    """
    if model.reading == "whole":
        yield
        return
    network: Any = model.network
    head = network.get_output_embeddings()
    owner: Any = getattr(network, "get_base_model", lambda: network)()  # without adapters
    bias = getattr(owner, BIAS, None)
    config = _decoder_config(model)
    cap = getattr(config, CAP, None)
    network.set_output_embeddings(nn.Identity())
    if bias is not None:
        setattr(owner, BIAS, bias.new_zeros(()))
    if cap is not None:
        setattr(config, CAP, None)
    try:
        yield
    finally:
        network.set_output_embeddings(head)
        if bias is not None:
            setattr(owner, BIAS, bias)
        if cap is not None:
            setattr(config, CAP, cap)
