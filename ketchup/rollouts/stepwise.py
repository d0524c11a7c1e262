"""Rollouts written token by token, so that what the calculator writes is read as it is due and nothing is drawn twice.

All rows of a batch take a step together: each reads its last token and gets its next, drawn from the model or, while
the calculator writes, the calculator's. Keys and values of earlier tokens are kept, and rows that ended are dropped.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutput

from ketchup.models.language_model import CACHE, LanguageModel, pad
from ketchup.models.probe import TOLERANCE, Text, plain_logits, relative_error, trial_texts
from ketchup.models.scoring import action_log_probs
from ketchup.rollouts.calculator import Calculator, Written
from ketchup.rollouts.types import Decoding

CACHE_BYTES = 2**30
"""Most bytes of keys and values of a batch of rows at their longest."""
ENDED_SHARE = 0.25
"""Rows are dropped when so many of them have ended: to drop them copies what is kept of the others."""
SPARE_TOKENS = 64
"""Room for so many tokens is made at once."""

_tried: dict[tuple[str, str, str], bool] = {}


def supports(model: LanguageModel) -> bool:
    """True where a prompt's keys and values give what the network itself computes, and all are on one device.

    Going on from them token by token is tried once in a process, on texts of unequal length.
    """
    if model.reading != "shared" or model.spread:
        return False
    key = (model.fingerprint, str(model.network.dtype), model.device.type)
    if key not in _tried:
        try:
            _tried[key] = _gap(model) < TOLERANCE.get(model.network.dtype, 0.0)
        except Exception:  # of any kind: architectures fail in their own ways, and there is another way of writing
            _tried[key] = False
    return _tried[key]


def write(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    samples: int,
    decoding: Decoding,
    seed: int,
    machine: Calculator | None,
) -> list[Written]:
    """`samples` rows of each prompt, an input's rows adjacent; greedy ones are copies of one."""
    drawn = 1 if decoding.greedy else samples
    generator = torch.Generator().manual_seed(seed)
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    found: list[list[Written]] = [[] for _ in prompts]
    size = max(1, _rows_at_once(model, len(prompts[order[0]]) + decoding.max_new_tokens) // drawn)
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        rows = _Batch(model, [prompts[index] for index in batch], drawn).write(decoding, generator, machine)
        for place, index in enumerate(batch):
            found[index] = rows[place * drawn : (place + 1) * drawn]
    copies = samples // drawn
    return [
        Written(list(row.tokens), list(row.action_mask), list(row.log_probs))
        for rows in found
        for row in rows
        for _ in range(copies)
    ]


class _Batch:
    """Rows that are written together."""

    def __init__(self, model: LanguageModel, prompts: Sequence[Sequence[int]], samples: int) -> None:
        self.model = model
        self.rows = [Written([], [], []) for _ in range(len(prompts) * samples)]
        ids, mask = pad(prompts, model.pad_id, left=not model.encoder_decoder)
        ids, self.mask = ids.to(model.device), mask.long().to(model.device)
        self.encoded: Tensor | None = None
        with torch.inference_mode():
            if model.encoder_decoder:
                self.encoded = model.network.get_encoder()(input_ids=ids, attention_mask=self.mask).last_hidden_state
                self.encoded = self.encoded.repeat_interleave(samples, dim=0)
                self.last = torch.full((len(self.rows), 1), int(model.start_id or 0), device=model.device)
                self.cache: Any = EncoderDecoderCache(_roomy_cache(model), DynamicCache())
            else:
                self.last = ids[:, -1:].repeat_interleave(samples, dim=0)
                self.cache = _roomy_cache(model)
                if ids.shape[1] > 1:
                    self._read(ids[:, :-1], self.mask[:, :-1])
                    self.cache.reorder_cache(torch.arange(len(ids), device=ids.device).repeat_interleave(samples))
            self.mask = self.mask.repeat_interleave(samples, dim=0)

    @torch.inference_mode()
    def write(self, decoding: Decoding, generator: torch.Generator, machine: Calculator | None) -> list[Written]:
        """Each row until it ends or is as long as allowed."""
        open_rows: list[Written | None] = list(self.rows)
        due: dict[int, list[int]] = {}
        for _ in range(decoding.max_new_tokens):
            logits = self._next_logits()
            tokens = _draw(logits, decoding, generator)
            log_probs = _log_probs(logits, tokens, decoding)
            for place, row in enumerate(open_rows):
                if row is None:
                    continue
                action = id(row) not in due
                if not action:
                    tokens[place] = due[id(row)].pop(0)
                    if not due[id(row)]:
                        del due[id(row)]
                row.tokens.append(tokens[place])
                row.action_mask.append(action)
                row.log_probs.append(log_probs[place] if action else math.nan)
                if action and tokens[place] in self.model.eos_ids:
                    open_rows[place] = None
                elif action and machine and (forced := machine.due(row.tokens)):
                    due[id(row)] = list(forced)
            self.last = torch.tensor(tokens, device=self.model.device)[:, None]
            left = [place for place, row in enumerate(open_rows) if row is not None]
            if not left:
                break
            if len(left) < (1 - ENDED_SHARE) * len(open_rows):
                self._keep(torch.tensor(left, device=self.model.device))
                open_rows = [open_rows[place] for place in left]
        return self.rows

    def _next_logits(self) -> Tensor:
        """Logits [R, V] of what follows the last tokens."""
        if not self.model.encoder_decoder:
            logits = self._read(self.last, self.mask)
            self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
            return logits
        output = self.model.network(
            encoder_outputs=BaseModelOutput(last_hidden_state=self.encoded),
            attention_mask=self.mask,
            decoder_input_ids=self.last,
            use_cache=True,
            **{CACHE: self.cache},
        )
        return output.logits[:, -1, : self.model.vocabulary].float()

    def _read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """What a decoder gives after `ids`, the newest of all that `mask` is over."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = self.model.network(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{CACHE: self.cache},
        )
        logits: Tensor = output.logits[:, -1, : self.model.vocabulary].float()
        return logits

    def _keep(self, places: Tensor) -> None:
        self.cache.reorder_cache(places)  # which layers of all kinds have
        self.last, self.mask = self.last[places], self.mask[places]
        self.encoded = None if self.encoded is None else self.encoded[places]


class _Recorded(_Batch):
    """A batch that keeps the logits of each step."""

    def __init__(self, model: LanguageModel, prompts: Sequence[Sequence[int]], samples: int) -> None:
        super().__init__(model, prompts, samples)
        self.steps: list[Tensor] = []

    def _next_logits(self) -> Tensor:
        self.steps.append(super()._next_logits())
        return self.steps[-1]


def _gap(model: LanguageModel) -> float:
    """The worst relative error of the logits that two rows of each trial text are drawn from."""
    texts = trial_texts(model)
    batch = _Recorded(replace(model, eos_ids=()), [text.prompt for text in texts], 2)
    rows = batch.write(Decoding(len(texts[0].answer)), torch.Generator().manual_seed(0), None)
    return max(
        relative_error(drawn_from, plain_logits(model, Text(texts[index // 2].prompt, row.tokens)))
        for index, (row, drawn_from) in enumerate(zip(rows, torch.stack(batch.steps, dim=1), strict=True))
    )


class _RoomyLayer(DynamicLayer):
    """Keys and values with room for more tokens, so that a step copies one token and not all before it."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Adds the newest tokens; returns keys and values of all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._rooms: list[Tensor] = []
        before = self.get_seq_length()
        after = before + key_states.shape[-2]
        if not self._rooms or self._rooms[0].shape[-2] < after or self._rooms[0].shape[0] != len(key_states):
            self._rooms = [_grown(key_states, self.keys, after), _grown(value_states, self.values, after)]
        for room, new in zip(self._rooms, (key_states, value_states), strict=True):
            room[..., before:after, :] = new
        self.keys, self.values = (room[..., :after, :] for room in self._rooms)
        return self.keys, self.values


def _grown(new: Tensor, old: Tensor | None, length: int) -> Tensor:
    room = new.new_empty(*new.shape[:-2], length + SPARE_TOKENS, new.shape[-1])
    if old is not None and old.numel():
        room[..., : old.shape[-2], :] = old
    return room


def _roomy_cache(model: LanguageModel) -> DynamicCache:
    """The model's own kinds of layers, with room where they grow without bound."""
    config: Any = model.network.config
    cache = DynamicCache(config=config.get_text_config(decoder=True))
    cache.layers = [_RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def _rows_at_once(model: LanguageModel, length: int) -> int:
    """How many rows of this length have keys and values of `CACHE_BYTES` at most."""
    config: Any = model.network.config.get_text_config(decoder=True)
    width = config.hidden_size if hasattr(config, "hidden_size") else config.d_model
    layers = getattr(config, "num_decoder_layers", None) or config.num_hidden_layers
    heads = getattr(config, "num_attention_heads", 1)
    shared = (getattr(config, "num_key_value_heads", None) or heads) / heads
    return max(1, int(CACHE_BYTES / (2 * layers * width * shared * length * model.network.dtype.itemsize)))


def _log_probs(logits: Tensor, tokens: Sequence[int], decoding: Decoding) -> list[float]:
    """What each row's token was drawn with."""
    if decoding.greedy:
        return [math.nan] * len(tokens)
    taken = torch.tensor(tokens, device=logits.device)
    found: list[float] = action_log_probs(decoding.temperature, decoding.top_k, logits, taken).tolist()
    return found


def _draw(logits: Tensor, decoding: Decoding, generator: torch.Generator) -> list[int]:
    """One token a row, by inversion: the first whose cumulated probability exceeds a uniform number."""
    if decoding.greedy:
        greedy: list[int] = logits.argmax(-1).tolist()
        return greedy
    scaled = logits / decoding.temperature
    if 0 < decoding.top_k < scaled.shape[-1]:
        scaled = scaled.masked_fill(scaled < scaled.topk(decoding.top_k).values[:, -1:], -torch.inf)
    # in double precision, as 50,000 small probabilities add up to 1 only to six digits in single
    cumulated = scaled.double().softmax(-1).cumsum(-1)
    uniform = torch.rand(len(logits), 1, generator=generator, dtype=torch.float64).to(logits.device)
    drawn: list[int] = torch.searchsorted(cumulated, uniform * cumulated[:, -1:], right=True)[:, 0].tolist()
    return drawn
