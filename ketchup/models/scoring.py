"""One teacher-forced pass over rollouts: q, v and what gauges and the KL need, two models side by side.

Memory does not grow with the vocabulary: the head is applied to a bounded number of positions at a time and only
scalars per token are kept; no [R, T, V] tensor ever exists.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ketchup.maths.divergences import expected_value, kl, token_statistics
from ketchup.maths.masked import compact
from ketchup.maths.returns import rollout_returns
from ketchup.models.language_model import Context, LanguageModel, context, hidden_states, logits

HEAD_BYTES = 16 * 2**20
"""Most bytes that one model's float32 logits of a chunk of positions may take."""
PASS_TOKENS = 4096
"""Most padded tokens in one forward pass of a network's body."""
WHOLE_BYTES = 256 * 2**20
"""Most bytes that the float32 logits of a pass may take where a network applies its own head, if it has many rows."""


@dataclass(frozen=True)
class TeacherValues:
    """Per action: `q[R, T]` logit of the action, `v[R, T]` largest logit, and the state's `mean` and `logsumexp`.

    In nats, up to a constant per state; float32; 0 wherever `mask` was False. `None` is what is not known of a teacher
    that does not tell all its logits.
    """

    q: Tensor
    v: Tensor
    mean: Tensor | None
    logsumexp: Tensor


@dataclass(frozen=True)
class StudentValues:
    """Per action: `log_prob[R, T]` of the action, `kl[R, T]` = KL(teacher‖student), `entropy[R, T]`, in nats.

    `collision[R, T]` is Σ_a π(a)², the chance that two draws agree, `own_value[R, T]` Σ_a π(a) q(a), the teacher's
    logit that the student's next action has in expectation. These two and `log_prob` are those of the distribution that
    was sampled, KL and entropy those of the student as it is, whatever its temperature and top k. What compares with
    all logits of a teacher that does not tell them is `None`.
    """

    log_prob: Tensor
    kl: Tensor | None
    entropy: Tensor
    collision: Tensor
    own_value: Tensor | None


def score(
    teacher: LanguageModel,
    student: LanguageModel,
    prompts: Sequence[Sequence[int]],
    tokens: Tensor,
    mask: Tensor,
    in_step: Callable[[int], int] | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
) -> tuple[TeacherValues, StudentValues]:
    """Scores `tokens[R, T]` of `B` prompts under both models, R = B x samples with an input's rollouts adjacent.

    `mask[R, T]` says which positions to score: actions, not the environment's tokens (which are still read, as part
    of the state) and not padding. The eos action is scored like any other. The full vocabulary enters v, mean,
    logsumexp and KL(p‖π) = sum_a p(a) [log p(a) - log π(a)], p the teacher's and π the student's distribution.

    Models that are spread over processes read in step: `in_step` turns the number of passes that this process needs
    into the number that all of them make. `temperature` and `top_k` are those that the tokens were sampled with, as in
    `log_probs`.
    """
    values = _score((teacher, student), prompts, tokens, mask, partial(_both, temperature, top_k), 9, in_step)
    return TeacherValues(*values[:4]), StudentValues(*values[4:])


def score_teacher(
    teacher: LanguageModel,
    prompts: Sequence[Sequence[int]],
    tokens: Tensor,
    mask: Tensor,
    in_step: Callable[[int], int] | None = None,
) -> TeacherValues:
    """The teacher's half of `score`, for a third of its cost or less."""
    return TeacherValues(*_score((teacher,), prompts, tokens, mask, _teacher_only, 4, in_step))


def score_student(
    student: LanguageModel,
    prompts: Sequence[Sequence[int]],
    tokens: Tensor,
    mask: Tensor,
    in_step: Callable[[int], int] | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
) -> StudentValues:
    """The student's half of `score`, without what compares the two."""
    found = _score((student,), prompts, tokens, mask, partial(_student_only, temperature, top_k), 3, in_step)
    log_prob, entropy, collision = found
    return StudentValues(log_prob, None, entropy, collision, None)


def full_returns(values: TeacherValues, actions: Tensor) -> Tensor:
    """G_0 (Eq. 10) of each rollout [R] in the teacher's raw logits, a truncated one as it stands; NaN without actions.

    What the environment wrote (holes in `actions[R, T]`) is no action and has no reward.
    """
    (q, mask), (v, _) = compact(values.q, actions), compact(values.v, actions)
    return rollout_returns(q, v, mask)


@torch.no_grad()  # not inference mode, whose tensors training could not use: weights may be gathered here
def _score(
    models: tuple[LanguageModel, ...],
    prompts: Sequence[Sequence[int]],
    tokens: Tensor,
    mask: Tensor,
    numbers: Callable[..., list[Tensor]],
    count: int,
    in_step: Callable[[int], int] | None,
) -> Tensor:
    """`[count, R, T]` numbers per action, 0 elsewhere: `numbers` of the actions and each model's logits."""
    samples = len(tokens) // len(prompts)
    # In step, all passes must be of one kind: prompts are read with each row.
    contexts = [context(model, prompts, shared=samples > 1 and in_step is None) for model in models]
    results = torch.zeros(count, *tokens.shape)
    chunks = list(row_chunks(mask, max(shared.ahead for shared in contexts), _pass_tokens(models)))
    idle = in_step(len(chunks)) - len(chunks) if in_step else 0
    for rows in chunks:
        width = int(mask[rows].nonzero()[:, 1].max()) + 1
        kept = mask[rows, :width]
        actions = tokens[rows, :width]
        states = [
            _states(model, shared, rows // samples, actions, kept)
            for model, shared in zip(models, contexts, strict=True)
        ]
        block = torch.zeros(count, *kept.shape)
        block[:, kept] = _in_chunks(models, states, actions[kept], numbers, count)
        results[:, rows, :width] = block
    for _ in range(idle):
        for model, shared in zip(models, contexts, strict=True):
            _states(model, shared, torch.tensor([0]), tokens[:1, :1], mask[:1, :1])
    return results


def row_chunks(mask: Tensor, prefix: int = 0, most: int | None = None) -> Iterator[Tensor]:
    """Indices of rows, longest first, in chunks of at most `most` padded tokens; empty rows are left out.

    `prefix` tokens are read before each row's own; without `most`, a chunk holds `PASS_TOKENS`.
    """
    most = PASS_TOKENS if most is None else most
    ends = torch.where(mask, torch.arange(1, mask.shape[1] + 1), 0).amax(dim=1)
    order = ends.argsort(descending=True, stable=True)
    order = order[ends[order] > 0]
    while len(order):
        rows = max(1, most // (prefix + int(ends[order[0]])))
        yield order[:rows]
        order = order[rows:]


def _pass_tokens(models: tuple[LanguageModel, ...]) -> int:
    whole = [WHOLE_BYTES // (4 * model.vocabulary) for model in models if model.reading == "whole"]
    return min([PASS_TOKENS, *whole])


def _states(model: LanguageModel, shared: Context, inputs: Tensor, actions: Tensor, kept: Tensor) -> Tensor:
    hidden = hidden_states(model, shared, inputs.to(model.device), actions.to(model.device))
    return hidden[kept.to(hidden.device)]


def _in_chunks(
    models: tuple[LanguageModel, ...],
    states: list[Tensor],
    actions: Tensor,
    numbers: Callable[..., list[Tensor]],
    count: int,
) -> Tensor:
    # Written in place: many small results, kept alive between large chunks, would fragment the heap.
    values = torch.empty(count, len(actions))
    for chunk in torch.arange(len(actions)).split(_head_positions(models[0])):
        first, *others = [logits(model, hidden[chunk]) for model, hidden in zip(models, states, strict=True)]
        taken = actions[chunk].to(first.device)
        for row, number in zip(
            values, numbers(taken, first, *(other.to(first.device) for other in others)), strict=True
        ):
            row[chunk] = number.cpu()
    return values


def _teacher_only(actions: Tensor, teacher_logits: Tensor) -> list[Tensor]:
    return list(token_statistics(teacher_logits, actions))


def _student_only(temperature: float, top_k: int, actions: Tensor, student_logits: Tensor) -> list[Tensor]:
    log_prob, entropy, pi = _of_student(temperature, top_k, actions, student_logits)
    return [log_prob, entropy, pi.square().sum(-1)]


def _both(
    temperature: float, top_k: int, actions: Tensor, teacher_logits: Tensor, student_logits: Tensor
) -> list[Tensor]:
    log_prob, entropy, pi = _of_student(temperature, top_k, actions, student_logits)
    return [
        *token_statistics(teacher_logits, actions),
        log_prob,
        kl(teacher_logits, student_logits),
        entropy,
        pi.square().sum(-1),
        expected_value(teacher_logits, pi),
    ]


def _of_student(
    temperature: float, top_k: int, actions: Tensor, student_logits: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of the action the log-probability, the entropy of the student as it is, and all probabilities that were drawn."""
    log_pi = student_logits.log_softmax(-1)
    pi = log_pi.exp()
    entropy = -(pi * log_pi).sum(-1)
    if temperature not in (0, 1) or top_k:
        log_pi = _sampled_logits(temperature, top_k, student_logits, actions).log_softmax(-1)
        pi = log_pi.exp()
    return log_pi.gather(-1, actions[:, None])[:, 0], entropy, pi


# With gradient


def log_probs(
    model: LanguageModel, states: Tensor, actions: Tensor, temperature: float = 1.0, top_k: int = 0
) -> Tensor:
    """log π(a | s) of N states `states[N, H]` and their `actions[N]`, in nats, with gradient.

    π is softmax(logits / temperature) over the `top_k` largest logits (0: all), as `Decoding` draws; temperature 0,
    which draws nothing, leaves the logits as they are. The action counts as one of the top k even where two engines
    round the last of them differently.
    """
    return _with_gradient(model, partial(action_log_probs, temperature, top_k), states, actions)


def token_divergences(
    divergence: Callable[[Tensor, Tensor], Tensor],
    teacher: LanguageModel,
    student: LanguageModel,
    teacher_states: Tensor,
    student_states: Tensor,
) -> Tensor:
    """A divergence per token [N] from both models' states `[N, H]`, with gradient for the student."""

    def compare(student_logits: Tensor, states: Tensor) -> Tensor:
        with torch.no_grad():
            teacher_logits = logits(teacher, states)
        return divergence(teacher_logits.to(student_logits.device), student_logits)

    return _with_gradient(student, compare, student_states, teacher_states)


def expected_advantages(
    teacher: LanguageModel,
    student: LanguageModel,
    teacher_states: Tensor,
    student_states: Tensor,
    temperature: float = 1.0,
    top_k: int = 0,
) -> Tensor:
    """Σ_a π(a | s) [q(s, a) - v(s)] of N states, [N], in nats, with gradient for the student; π as in `log_probs`."""

    def of_logits(teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
        drawn = _sampled_logits(temperature, top_k, student_logits, student_logits.argmax(-1))
        return expected_value(teacher_logits - teacher_logits.amax(-1, keepdim=True), drawn.softmax(-1))

    return token_divergences(of_logits, teacher, student, teacher_states, student_states)


def _with_gradient(
    model: LanguageModel, reduce: Callable[[Tensor, Tensor], Tensor], states: Tensor, others: Tensor
) -> Tensor:
    """`reduce(logits, others)` in chunks of states; chunks of logits are made again in the backward pass, not kept."""

    def chunk_of(states: Tensor, others: Tensor) -> Tensor:
        return reduce(logits(model, states), others)

    size = _head_positions(model)
    if len(states) <= size:  # little enough to keep
        return chunk_of(states, others)
    parts = [
        checkpoint(chunk_of, chunk, other, use_reentrant=False)
        for chunk, other in zip(states.split(size), others.split(size), strict=True)
    ]
    return torch.cat(parts)


def action_log_probs(temperature: float, top_k: int, raw: Tensor, actions: Tensor) -> Tensor:
    """log π(a | s) [N] of `actions[N]` from logits `raw[N, V]`, π as in `log_probs`."""
    return -F.cross_entropy(_sampled_logits(temperature, top_k, raw, actions), actions, reduction="none")


def _sampled_logits(temperature: float, top_k: int, raw: Tensor, actions: Tensor) -> Tensor:
    """Logits [N, V] of the distribution that the actions were drawn from; -∞ outside of the top k."""
    scaled = raw / temperature if temperature else raw
    if 0 < top_k < scaled.shape[-1]:
        kept = scaled >= scaled.topk(top_k).values[:, -1:]
        kept = kept.scatter(-1, actions[:, None], True)
        scaled = scaled.masked_fill(~kept, -torch.inf)
    return scaled


def _head_positions(model: LanguageModel) -> int:
    return max(1, HEAD_BYTES // (4 * model.vocabulary))
