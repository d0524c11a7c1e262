"""Cross-entropy on given tokens, the loss of fine-tuning (`sft`) and of sequence-level distillation (`seqkd`)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ketchup.methods.base import Demonstration
from ketchup.models.language_model import LanguageModel, context, hidden_states, pad
from ketchup.models.scoring import log_probs


def cross_entropy(student: LanguageModel, batch: Sequence[Demonstration]) -> Tensor:
    """Sum of -log π(a_t | s_t) over the actions of the batch, in nats.

    The eos action counts. Tokens that the environment writes are read, not learnt: the calculator writes them at
    inference too.
    """
    shared = context(student, [row.prompt for row in batch], shared=False)
    tokens, _ = pad([row.tokens for row in batch], student.pad_id)
    mask = pad([[int(chosen) for chosen in row.chosen] for row in batch], 0)[0].bool()
    tokens, mask = tokens.to(student.device), mask.to(student.device)
    hidden = hidden_states(student, shared, torch.arange(len(batch), device=student.device), tokens)
    return -log_probs(student, hidden[mask], tokens[mask]).sum()
