"""The task's calculator over tokens: where the environment writes, and what."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ketchup.models.language_model import LanguageModel
from ketchup.tasks.calculator import forced_text

CALCULATOR_WINDOW = 128
"""Tokens before an equals sign within which its annotation must have been opened."""


@dataclass
class Written:
    """A rollout being written: its tokens, which of them are actions of the model, and how far the calculator has read.

    `log_probs` are those that the engine drew the tokens with, NaN for those that it did not draw or does not tell.
    """

    tokens: list[int]
    action_mask: list[bool]
    log_probs: list[float]
    read: int = 0

    @classmethod
    def drawn(cls, tokens: list[int], log_probs: list[float]) -> "Written":
        """A row that the model chose all of."""
        return cls(tokens, [True] * len(tokens), log_probs)

    def extend(self, tokens: list[int], log_probs: list[float]) -> None:
        """Goes on with tokens that the model chose."""
        self.tokens.extend(tokens)
        self.action_mask.extend([True] * len(tokens))
        self.log_probs.extend(log_probs)

    def force(self, start: int, tokens: list[int]) -> None:
        """Puts what the environment writes in place of all from `start` on."""
        self.tokens[start:] = tokens
        self.action_mask[start:] = [False] * len(tokens)
        self.log_probs[start:] = [math.nan] * len(tokens)


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
                forced = self.due(tokens[max(0, place + 1 - CALCULATOR_WINDOW) : place + 1])
                if forced:
                    return place + 1, forced
        return None

    def action_mask(self, tokens: Sequence[int]) -> list[bool]:
        """Which tokens of a finished text are actions: all but those that are just what the environment writes."""
        mask = [True] * len(tokens)
        found = self.next_forced(tokens, 0)
        while found:
            start, forced = found
            end = start + len(forced)
            if list(tokens[start:end]) == forced:
                mask[start:end] = [False] * len(forced)
            found = self.next_forced(tokens, end)
        return mask

    def due(self, tokens: Sequence[int]) -> list[int]:
        """What the environment writes after `tokens`, if anything."""
        if tokens[-1] not in self.equals:
            return []
        before = list(tokens[-CALCULATOR_WINDOW:])
        forced = forced_text(str(self.tokenizer.decode(before, skip_special_tokens=True)))
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
