"""Cross-entropy on given tokens: fine-tuning on references (`sft`) and sequence-level distillation (`seqkd`).

Both minimise -sum_t log π(a_t | s_t). On references that fits a model to the data; on the teacher's own outputs it is
SeqKD (Kim and Rush, 2016), which the paper also uses to pre-distil students before reinforcement learning.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ketchup.methods.base import Demonstration, Method
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


SFT = Method("sft", tokens="reference", loss=cross_entropy)
SEQKD = Method("seqkd", tokens="teacher", loss=cross_entropy)
