"""From an engine's tokens to rollouts, with the task's calculator as part of the environment."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch

from ketchup.models.language_model import LanguageModel, pad
from ketchup.rollouts.types import Decoding, Engine, Rollouts
from ketchup.tasks.calculator import forced_text

CALCULATOR_WINDOW = 128
"""Tokens before an equals sign within which its annotation must have been opened."""


@dataclass
class _Row:
    """A rollout being written: its tokens, which of them the model chose, and how far the calculator has read."""

    tokens: list[int]
    chosen: list[bool]
    read: int = 0


def sample(
    engine: Engine,
    model: LanguageModel,
    ids: Sequence[str],
    prompts: Sequence[Sequence[int]],
    samples: int,
    decoding: Decoding,
    seed: int,
    *,
    calculator: bool,
) -> Rollouts:
    """Draws `samples` rollouts of each prompt.

    With the calculator, as soon as a row reads `<<3*4=` the environment writes `12>>`: these tokens belong to the
    state, they are no actions. Rows are drawn as if there were none; where what was drawn after the equals sign is
    the forced text it stands, otherwise the row is cut there, the forced text put in and the rest drawn again. That
    is exact: whatever follows depends on the state only, however the state came about. And it costs one more draw
    per wrong result instead of a stop at every equals sign.
    """
    seeds = Random(seed)
    drawn = engine.sample(prompts, None, samples, decoding, seeds.getrandbits(31))
    rows = [_Row(written, [True] * len(written)) for written in drawn]
    machine = Calculator(model)
    pending = _cut_rows(machine, rows, range(len(rows)), decoding.max_new_tokens) if calculator else []
    while pending:
        prefixes = [rows[index].tokens for index in pending]
        again = [prompts[index // samples] for index in pending]
        more = engine.sample(again, prefixes, 1, decoding, seeds.getrandbits(31))
        for index, written in zip(pending, more, strict=True):
            rows[index].tokens.extend(written)
            rows[index].chosen.extend([True] * len(written))
        pending = _cut_rows(machine, rows, pending, decoding.max_new_tokens)
    return _as_rollouts(model, ids, rows)


class Calculator:
    """The task's calculator over a model's tokens: where a row of tokens would be continued by the environment."""

    def __init__(self, model: LanguageModel) -> None:
        self.tokenizer = model.tokenizer
        pieces = model.tokenizer.batch_decode([[index] for index in range(model.vocabulary)])
        # Only after these can an annotation stand open, so only there is the text looked at.
        self.equals = {index for index, piece in enumerate(pieces) if piece.rstrip().endswith("=")}
        self.sign = model.tokenizer("=", add_special_tokens=False).input_ids
        self.encoded: dict[str, list[int]] = {}

    def next_forced(self, tokens: Sequence[int], read: int) -> tuple[int, list[int]] | None:
        """The first place at or after `read` where the environment writes, and the tokens it writes there."""
        for place in range(read, len(tokens)):
            if tokens[place] in self.equals:
                forced = self._forced_ids(tokens[max(0, place + 1 - CALCULATOR_WINDOW) : place + 1])
                if forced:
                    return place + 1, forced
        return None

    def action_mask(self, tokens: Sequence[int]) -> list[bool]:
        """Which tokens of a finished text are actions: all but those that are just what the environment writes."""
        chosen = [True] * len(tokens)
        found = self.next_forced(tokens, 0)
        while found:
            start, forced = found
            end = start + len(forced)
            if list(tokens[start:end]) == forced:
                chosen[start:end] = [False] * len(forced)
            found = self.next_forced(tokens, end)
        return chosen

    def _forced_ids(self, before: Sequence[int]) -> list[int]:
        forced = forced_text(str(self.tokenizer.decode(list(before), skip_special_tokens=True)))
        if forced is None:
            return []
        if forced not in self.encoded:
            self.encoded[forced] = self._encode(forced)
        return self.encoded[forced]

    def _encode(self, forced: str) -> list[int]:
        # Encoded together with the sign before it, so that no tokenizer takes it for the start of a text.
        both: list[int] = self.tokenizer("=" + forced, add_special_tokens=False).input_ids
        if both[: len(self.sign)] == self.sign:
            return both[len(self.sign) :]
        return list(self.tokenizer(forced, add_special_tokens=False).input_ids)


def _cut_rows(machine: Calculator, rows: list[_Row], indices: Sequence[int], limit: int) -> list[int]:
    """Cuts each row at the first place where the environment wrote something else; indices of those to be continued."""
    return [index for index in indices if _cut(machine, rows[index], limit) and len(rows[index].tokens) < limit]


def _cut(machine: Calculator, row: _Row, limit: int) -> bool:
    found = machine.next_forced(row.tokens, row.read)
    while found:
        start, forced = found
        row.read = start + len(forced)
        forced = forced[: limit - start]
        if row.tokens[start : row.read] != forced:
            row.tokens[start:] = forced
            row.chosen[start:] = [False] * len(forced)
            return True
        row.chosen[start : row.read] = [False] * len(forced)
        found = machine.next_forced(row.tokens, row.read)
    return False


def _as_rollouts(model: LanguageModel, ids: Sequence[str], rows: list[_Row]) -> Rollouts:
    tokens, token_mask = pad([row.tokens for row in rows], model.pad_id)
    chosen, _ = pad([[int(c) for c in row.chosen] for row in rows], 0)
    ended = torch.tensor([bool(row.tokens) and row.tokens[-1] in model.eos_ids and row.chosen[-1] for row in rows])
    return Rollouts(tuple(ids), tokens, token_mask, chosen.bool() & token_mask, ended)
