"""One teacher-forced pass over rollouts: q, v and what gauges and the KL need, two models side by side.

Memory does not grow with the vocabulary: the head is applied to a bounded number of positions at a time and only
scalars per token are kept; no [R, T, V] tensor ever exists.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ketchup.maths.divergences import kl, token_statistics
from ketchup.models.language_model import Context, LanguageModel, context, hidden_states, logits

HEAD_BYTES = 16 * 2**20
"""Most bytes that one model's float32 logits of a chunk of positions may take."""
PASS_TOKENS = 4096
"""Most padded tokens in one forward pass of a network's body."""


@dataclass(frozen=True)
class TeacherValues:
    """Per action: `q[R, T]` logit of the action, `v[R, T]` largest logit, and the state's `mean` and `logsumexp`.

    In nats, up to a constant per state; float32; 0 wherever `mask` was False.
    """

    q: Tensor
    v: Tensor
    mean: Tensor
    logsumexp: Tensor


@dataclass(frozen=True)
class StudentValues:
    """Per action, in nats: `log_prob[R, T]` of the action, `kl[R, T]` = KL(teacher‖student), `entropy[R, T]`."""

    log_prob: Tensor
    kl: Tensor
    entropy: Tensor


@torch.inference_mode()
def score(
    teacher: LanguageModel,
    student: LanguageModel,
    prompts: Sequence[Sequence[int]],
    tokens: Tensor,
    mask: Tensor,
) -> tuple[TeacherValues, StudentValues]:
    """Scores `tokens[R, T]` of `B` prompts under both models, R = B x samples with an input's rollouts adjacent.

    `mask[R, T]` says which positions to score: actions, not the environment's tokens (which are still read, as part
    of the state) and not padding. The eos action is scored like any other. The full vocabulary enters v, mean,
    logsumexp and KL(p‖π) = sum_a p(a) [log p(a) - log π(a)], p the teacher's and π the student's distribution.
    """
    samples = len(tokens) // len(prompts)
    contexts = [(model, context(model, prompts, shared=samples > 1)) for model in (teacher, student)]
    results = torch.zeros(7, *tokens.shape)
    for rows in row_chunks(mask, contexts[0][1].first.shape[1]):
        width = int(mask[rows].nonzero()[:, 1].max()) + 1
        kept = mask[rows, :width]
        actions = tokens[rows, :width]
        states = [_states(model, shared, rows // samples, actions, kept) for model, shared in contexts]
        values = _token_values(teacher, student, states[0], states[1], actions[kept])
        block = torch.zeros(7, *kept.shape)
        block[:, kept] = values
        results[:, rows, :width] = block
    return TeacherValues(*results[:4]), StudentValues(*results[4:])


def row_chunks(mask: Tensor, prefix: int = 0) -> Iterator[Tensor]:
    """Indices of rows, longest first, in chunks of at most `PASS_TOKENS` padded tokens; empty rows are left out.

    `prefix` tokens are read before each row's own.
    """
    ends = torch.where(mask, torch.arange(1, mask.shape[1] + 1), 0).amax(dim=1)
    order = ends.argsort(descending=True, stable=True)
    order = order[ends[order] > 0]
    while len(order):
        rows = max(1, PASS_TOKENS // (prefix + int(ends[order[0]])))
        yield order[:rows]
        order = order[rows:]


def _states(model: LanguageModel, shared: Context, inputs: Tensor, actions: Tensor, kept: Tensor) -> Tensor:
    hidden = hidden_states(model, shared, inputs.to(model.device), actions.to(model.device))
    return hidden[kept.to(model.device)]


def _token_values(
    teacher: LanguageModel, student: LanguageModel, teacher_states: Tensor, student_states: Tensor, actions: Tensor
) -> Tensor:
    """`[7, N]` numbers of N positions: q, v, mean, logsumexp, student log-prob, KL, student entropy."""
    # Written in place: many small results, kept alive between large chunks, would fragment the heap.
    values = torch.empty(7, len(actions))
    for chunk in torch.arange(len(actions)).split(_head_positions(teacher)):
        teacher_logits = logits(teacher, teacher_states[chunk])
        student_logits = logits(student, student_states[chunk]).to(teacher_logits.device)
        taken = actions[chunk].to(teacher_logits.device)
        log_pi = student_logits.log_softmax(-1)
        values[:4, chunk] = torch.stack(token_statistics(teacher_logits, taken)).cpu()
        values[4, chunk] = log_pi.gather(-1, taken[:, None])[:, 0].cpu()
        values[5, chunk] = kl(teacher_logits, student_logits).cpu()
        values[6, chunk] = -(log_pi.exp() * log_pi).sum(-1).cpu()
    return values


def log_probs(model: LanguageModel, states: Tensor, actions: Tensor) -> Tensor:
    """log π(a | s) of N states `states[N, H]` and their `actions[N]`, in nats, with gradient.

    Chunks of the vocabulary head are computed again in the backward pass instead of being kept.
    """
    size = _head_positions(model)
    parts = [
        checkpoint(_chunk_log_probs, model, chunk, taken, use_reentrant=False)
        for chunk, taken in zip(states.split(size), actions.split(size), strict=True)
    ]
    return torch.cat(parts) if parts else states.new_zeros(0)


def _chunk_log_probs(model: LanguageModel, states: Tensor, actions: Tensor) -> Tensor:
    return -F.cross_entropy(logits(model, states), actions, reduction="none")


def _head_positions(model: LanguageModel) -> int:
    return max(1, HEAD_BYTES // (4 * model.vocabulary))
