"""Gradients of rollouts for many rows of weights at once: g = Σ_t w_t ∇ log π(a_t | s_t).

A gradient is linear in its weights, so what is costly, the student's pass, is made once for all rows. Of the rollouts
of an input two things are kept for each row: their mean gradient, as a vector or a shorter one whose products are the
same on average, and the mean of their squared norms.
"""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ketchup.errors import ModelError, UsageError
from ketchup.models.language_model import LanguageModel, context, hidden_states, logits, pad
from ketchup.models.memory import free_bytes

SKETCH = 4096
"""Length of vectors that stand for longer ones; products of theirs have a relative error of about 1 / √4096 = 1.6%."""
EXACT_LENGTH = 65_536
"""Longest vectors that are kept as they are."""
CHUNK_BYTES = 64 * 2**20
"""Most bytes of a chunk of logit gradients."""


@dataclass(frozen=True, eq=False)
class InputRollouts:
    """The rollouts of one input: its prompt and, of each rollout, its tokens and which of them the student chose."""

    prompt: list[int]
    tokens: list[list[int]]
    actions: list[list[bool]]


class Gradients(Protocol):
    """Where gradients are taken: by the head's weights, or by any weights."""

    sketched: bool

    def of(self, rollouts: InputRollouts, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean gradient [M, D] and mean squared norm [M], over rollouts, of M rows of `weights[M, N, T]`.

        Weights are those of the actions of each rollout, moved to the left. Both are float64 on the CPU.
        """
        ...


class HeadGradients:
    """By the weights of the head alone, W with logits W h: Σ_t w_t (e_{a_t} - π_t) h_tᵀ, never built for a rollout.

    Squared norms are exact: wᵀ (H Hᵀ ∘ Δ Δᵀ) w with the rows h_t of H and e_{a_t} - π_t of Δ. A mean gradient longer
    than `EXACT_LENGTH` is represented by Σ_t w_t (A δ_t) ∘ (B h_t) / √D, entries ±1 of A and B drawn from `seed`: its
    products are right on average. Where embeddings are tied to the head, their own share is left out.
    """

    def __init__(self, student: LanguageModel, seed: int) -> None:
        if student.reading == "whole":
            raise ModelError(
                f"The head of {student.name!r} cannot be told from what follows it; use --gradient-of all."
            )
        self.student = student
        head: Any = student.network.get_output_embeddings()
        self.width = int(head.weight.shape[1])
        self.sketched = student.vocabulary * self.width > EXACT_LENGTH
        if self.sketched:
            generator = torch.Generator().manual_seed(seed)
            self.of_tokens, self.of_states = (
                _signs(size, generator).to(student.device) for size in (student.vocabulary, self.width)
            )

    @torch.no_grad()
    def of(self, rollouts: InputRollouts, weights: Tensor) -> tuple[Tensor, Tensor]:
        """See `Gradients.of`."""
        samples = len(rollouts.tokens)
        mean = torch.zeros(len(weights), SKETCH if self.sketched else self.student.vocabulary * self.width).double()
        squares = torch.zeros(len(weights)).double()
        for index, hidden, chosen in _states(self.student, rollouts):
            own = weights[:, index, : len(chosen)].double().to(hidden.device)
            delta = -logits(self.student, hidden).softmax(-1)
            delta[torch.arange(len(chosen)), chosen] += 1
            states = hidden.float()
            gram = ((states @ states.T) * (delta @ delta.T)).double()
            squares += ((own @ gram) * own).sum(1).cpu()
            mean += self._represented(own, delta, states).cpu()
        return mean / samples, squares / samples

    def _represented(self, own: Tensor, delta: Tensor, states: Tensor) -> Tensor:
        if self.sketched:
            return own @ ((delta @ self.of_tokens) * (states @ self.of_states)).double() / SKETCH**0.5
        spread = (own.float()[:, :, None] * states).transpose(0, 1).reshape(len(states), -1)
        product = delta.T @ spread  # [V, M H]
        return product.reshape(-1, len(own), self.width).transpose(0, 1).reshape(len(own), -1).double()


class WeightGradients:
    """By any weights of the student, from a backward pass of every rollout for all rows at once.

    `pattern` is `all`, `last-block`, or a pattern of names of weights such as `*.layer.2.*`. Vectors longer than
    `EXACT_LENGTH` are added up in `SKETCH` sums with signs, both drawn from `seed` (a count sketch): products are right
    on average. Squared norms are exact.
    """

    def __init__(self, student: LanguageModel, pattern: str, seed: int) -> None:
        self.student = student
        self.weights = _chosen(student, pattern)
        self.length = sum(weight.numel() for weight in self.weights)
        generator = torch.Generator().manual_seed(seed)
        self.sketched = self.length > EXACT_LENGTH
        if self.sketched:
            self.places = torch.randint(SKETCH, (self.length,), generator=generator)
            self.signs = torch.randint(2, (self.length,), generator=generator, dtype=torch.int8) * 2 - 1

    def of(self, rollouts: InputRollouts, weights: Tensor) -> tuple[Tensor, Tensor]:
        """See `Gradients.of`; `ModelError` where the rows of one rollout are too much for memory."""
        _check_memory(self.length * len(weights) * 4 * 2)
        samples = len(rollouts.tokens)
        mean = torch.zeros(len(weights), SKETCH if self.sketched else self.length).double()
        squares = torch.zeros(len(weights)).double()
        for index, hidden, chosen in _states(self.student, rollouts):
            log_pi = logits(self.student, hidden).log_softmax(-1)[torch.arange(len(chosen)), chosen]
            own = weights[:, index, : len(chosen)].to(log_pi)
            # the rollouts of an input share what was computed of its prompt
            found = torch.autograd.grad(
                log_pi, self.weights, own, is_grads_batched=True, materialize_grads=True, retain_graph=True
            )
            flat = torch.cat([gradient.reshape(len(own), -1) for gradient in found], dim=1).float().cpu()
            squares += flat.double().square().sum(1)
            mean += self._represented(flat)
        return mean / samples, squares / samples

    def _represented(self, flat: Tensor) -> Tensor:
        if not self.sketched:
            return flat.double()
        return torch.zeros(len(flat), SKETCH).index_add_(1, self.places, flat * self.signs).double()


def gradients(student: LanguageModel, where: str, seed: int) -> Gradients:
    """`head`, `last-block`, `all` or a pattern of names; `UsageError` for a pattern that matches nothing."""
    return HeadGradients(student, seed) if where == "head" else WeightGradients(student, where, seed)


def _states(student: LanguageModel, rollouts: InputRollouts) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Of each rollout with actions: its number, the states [L, H] in which it chose, and what it chose [L]."""
    shared = context(student, [rollouts.prompt])
    for index, (tokens, actions) in enumerate(zip(rollouts.tokens, rollouts.actions, strict=True)):
        kept = torch.tensor(actions, dtype=torch.bool)
        if not kept.any():
            continue
        ids, _ = pad([tokens], student.pad_id)
        here = student.device
        hidden = hidden_states(student, shared, torch.tensor([0], device=here), ids.to(here))[0]
        yield index, hidden[kept.to(here)], ids[0][kept].to(here)


def _chosen(student: LanguageModel, pattern: str) -> Sequence[Tensor]:
    named = dict(student.network.named_parameters())
    if pattern == "last-block":
        blocks = set(student.network._no_split_modules or ())
        inside = [name for name, module in student.network.named_modules() if type(module).__name__ in blocks]
        if not inside:
            raise ModelError(f"{student.name!r} does not say what its blocks are; use --gradient-of all or a pattern.")
        pattern = f"{inside[-1]}.*"
    found = [weight for name, weight in named.items() if pattern == "all" or fnmatch.fnmatch(name, pattern)]
    if not found:
        some = ", ".join(list(named)[:3])
        raise UsageError(f"--gradient-of {pattern} matches no weight of {student.name!r}; they are called {some}, ...")
    for weight in found:
        weight.requires_grad_()
    return found


def _signs(size: int, generator: torch.Generator) -> Tensor:
    return torch.randint(2, (size, SKETCH), generator=generator, dtype=torch.float32) * 2 - 1


def _check_memory(needed: int) -> None:
    free = free_bytes(torch.device("cpu"))
    if needed > free:
        raise ModelError(
            f"The gradients of one rollout need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; use "
            "--gradient-of head, or last-block."
        )
