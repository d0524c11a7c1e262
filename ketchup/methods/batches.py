"""From trajectories to the states in which their actions were taken."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ketchup.methods.base import Trajectory
from ketchup.models.language_model import LanguageModel, context, hidden_states


def action_states(model: LanguageModel, batch: Sequence[Trajectory]) -> tuple[Tensor, Tensor]:
    """Hidden states `[N, H]` before each of the batch's N actions, row by row, and the actions `[N]`.

    One forward pass of the network's body; the head is left to the caller, who can apply it in chunks.
    """
    shared = context(model, [row.prompt for row in batch], shared=False)
    tokens = pad_sequence([row.tokens for row in batch], batch_first=True, padding_value=model.pad_id)
    mask = pad_sequence([row.action_mask for row in batch], batch_first=True)
    tokens, mask = tokens.to(model.device), mask.to(model.device)
    hidden = hidden_states(model, shared, torch.arange(len(batch), device=model.device), tokens)
    return hidden[mask], tokens[mask]
