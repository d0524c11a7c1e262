"""One interface for encoder-decoder (T5-like) and decoder-only models.

Axes: B inputs, R rollouts (rows), S prompt tokens, T actions, H hidden units, V vocabulary.

Both kinds are seen as *context, then decoder*: the context (encoder output, or the key-value cache of the prompt but
for its last token) is computed once per input and shared by all its rollouts; the decoder then reads
[first, a_0, ..., a_{T-2}], where `first` is the decoder's start token or the prompt's last token, so that position t
of its output always predicts action a_t.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from packaging.version import Version
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

CACHE = "cache" if Version(transformers.__version__) >= Version("5.24") else "past_key_values"
"""What the installed transformers calls the key-value cache of a forward pass."""


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A network with its tokenizer and the ids that matter.

    `vocabulary` is the number of tokens that have a meaning: rows of the head beyond it are padding, never sampled,
    never part of a maximum or a sum over the vocabulary. `eos_ids` are the tokens that end an output, whichever is
    written first; they are actions like any other. `start_id` is the decoder's start token, `None` for decoder-only
    models. `fingerprint` changes whenever weights, configuration or tokenizer do. `max_tokens` is the most that a
    model can read: of prompt and output together, or of either where an encoder reads the prompt; `None` is no limit.
    """

    name: str
    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    vocabulary: int
    eos_ids: tuple[int, ...]
    pad_id: int
    start_id: int | None
    fingerprint: str
    max_tokens: int | None

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
        """Where the weights are."""
        return self.network.device


@dataclass(frozen=True)
class Context:
    """What all rollouts of an input share: `mask[B, S]` over prompt tokens and what was computed from them.

    `first[B, *]` is what the decoder reads before the actions: its start token, the prompt's last token (the others
    are in `cache`), or the whole prompt where nothing was computed ahead. `prompt[B, S]` is what an encoder has yet
    to read.
    """

    mask: Tensor
    first: Tensor
    prompt: Tensor | None
    encoded: Tensor | None
    cache: tuple[tuple[Tensor | None, Tensor | None], ...] | None


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

    Prompts are padded on the right for an encoder and on the left for a decoder, where the last token of every
    prompt must stand next to the first action. With `shared=False` nothing is computed ahead, and prompt and actions
    are read in one pass, which costs less where every input has a single rollout and keeps training to one forward.
    """
    ids, mask = pad(prompts, model.pad_id, left=not model.encoder_decoder)
    ids, mask = ids.to(model.device), mask.to(model.device)
    if model.start_id is not None:
        first = torch.full_like(ids[:, :1], model.start_id)
        if not shared:
            return Context(mask, first, ids, None, None)
        encoded = model.network.get_encoder()(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return Context(mask, first, None, encoded, None)
    if not shared or ids.shape[1] == 1:
        return Context(mask, ids, None, None, None)
    cache = DynamicCache(config=model.network.config)
    with _headless(model):
        model.network(
            input_ids=ids[:, :-1],
            attention_mask=mask[:, :-1].long(),
            position_ids=_positions(mask)[:, :-1],
            use_cache=True,
            **{CACHE: cache},
        )
    pairs = tuple((layer.keys, layer.values) for layer in cache.layers)  # type: ignore[union-attr]  # all are attention
    return Context(mask, ids[:, -1:], None, None, pairs)


def hidden_states(model: LanguageModel, shared: Context, rows: Tensor, actions: Tensor) -> Tensor:
    """States that predict each action: `hidden[R, T, H]`, ready for `logits`.

    `rows[R]` names the input of each row in `shared`; `actions[R, T]` is right-padded with any ids, which cannot
    reach an earlier position (attention is causal). Position t depends on the prompt and on actions before t only.
    """
    tokens = torch.cat([shared.first[rows], actions[:, :-1]], dim=1)
    mask = shared.mask[rows]
    with _headless(model):
        if model.encoder_decoder:
            encoded = None if shared.encoded is None else BaseModelOutput(last_hidden_state=shared.encoded[rows])
            return model.network(
                input_ids=None if shared.prompt is None else shared.prompt[rows],
                encoder_outputs=encoded,
                attention_mask=mask.long(),
                decoder_input_ids=tokens,
                use_cache=False,
            ).logits
        length = actions.shape[1]
        grown = torch.cat([mask, mask.new_ones(len(rows), length - 1)], dim=1)
        extra: dict[str, Any] = {"use_cache": False}
        if shared.cache is not None:
            kept = [
                (keys[rows], values[rows]) for keys, values in shared.cache if keys is not None and values is not None
            ]
            extra = {CACHE: DynamicCache(kept, config=model.network.config), "use_cache": True}
        positions = _positions(grown)[:, -tokens.shape[1] :]
        hidden = model.network(input_ids=tokens, attention_mask=grown.long(), position_ids=positions, **extra).logits
        return hidden[:, -length:]


def logits(model: LanguageModel, hidden: Tensor) -> Tensor:
    """The head: `hidden[..., H]` to `logits[..., V]` in float32, padding rows of the vocabulary left out."""
    return model.network.get_output_embeddings()(hidden)[..., : model.vocabulary].float()


def _positions(mask: Tensor) -> Tensor:
    return (mask.long().cumsum(-1) - 1).clamp(min=0)


@contextmanager
def _headless(model: LanguageModel) -> Iterator[None]:
    """Lets the forward pass end before the vocabulary head, so that no [R, T, V] tensor ever exists.

    Swapping the head for the identity works for every architecture and keeps what a model does just before it
    (T5 scales the state when embeddings are tied).
    """
    network = model.network
    head = network.get_output_embeddings()
    network.set_output_embeddings(nn.Identity())
    try:
        yield
    finally:
        network.set_output_embeddings(head)
