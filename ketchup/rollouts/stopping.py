"""Outputs that end with a string of the task's, for models that do not know to stop.

Whatever a model would write after such a string is thrown away, which does not change the distribution of what stands
before it: rollouts stay exactly on-policy with any engine. The tokens of the string are actions; its text is no output.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from ketchup.models.language_model import LanguageModel
from ketchup.models.prompts import text_of
from ketchup.rollouts.types import Rollouts


def stopped(model: LanguageModel, rollouts: Rollouts, stop: Sequence[str]) -> Rollouts:
    """The rollouts, each up to the token that completes the first of the strings `stop`, where it counts as ended."""
    if not stop:
        return rollouts
    lengths = rollouts.token_mask.sum(1)
    ended = rollouts.ended.clone()
    for index, (row, length) in enumerate(zip(rollouts.tokens.tolist(), lengths.tolist(), strict=True)):
        found = _length_at_stop(model, row[:length], stop)
        if found is not None:
            lengths[index], ended[index] = found, True
    kept = torch.arange(rollouts.tokens.shape[1]) < lengths[:, None]
    drawn = rollouts.sampler_log_prob
    return replace(
        rollouts,
        tokens=torch.where(kept, rollouts.tokens, model.pad_id),
        token_mask=rollouts.token_mask & kept,
        action_mask=rollouts.action_mask & kept,
        ended=ended,
        sampler_log_prob=None if drawn is None else torch.where(kept, drawn, 0),
    )


def before_stop(text: str, stop: Sequence[str]) -> str:
    """The text up to the first of the strings."""
    return text[: min((place for word in stop if (place := text.find(word)) >= 0), default=len(text))]


def _length_at_stop(model: LanguageModel, tokens: Sequence[int], stop: Sequence[str]) -> int | None:
    """How many tokens it takes until their text has one of the strings; `None` where all of them have none."""

    def has_stop(count: int) -> bool:
        text = text_of(model, tokens[:count])
        return any(word in text for word in stop)

    low, high = 0, len(tokens)
    if not has_stop(high):
        return None
    while high - low > 1:  # the text of more tokens has what that of fewer has
        middle = (low + high) // 2
        low, high = (low, middle) if has_stop(middle) else (middle, high)
    return high
