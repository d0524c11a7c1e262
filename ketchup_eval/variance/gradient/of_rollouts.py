"""Gradients of rollouts for many rows of weights at once: g = Σ_t w_t ∇ log π(a_t | s_t).

A gradient is linear in its weights, so what is costly, the student's pass, is made once for all rows. Of the rollouts
of an input two things are kept for each row: their mean gradient, as a vector or a shorter one whose products are the
same on average, and the mean of their squared norms.
"""

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol

import torch
from torch import Tensor

from ketchup.errors import ModelError, UsageError
from ketchup.models.language_model import LanguageModel, context, hidden_states, logit_cap, logits, pad
from ketchup.models.memory import free_bytes
from ketchup.models.scoring import row_chunks

SHORT = 4096
"""Length of vectors that stand for longer ones; products of theirs have a relative error of about 1 / √4096 = 1.6%."""
EXACT_LENGTH = 16_384
"""Longest vectors that are kept as they are, unless it is asked for."""
PASS_BYTES = 2**29
"""Most bytes of the gradients of one backward pass, unless a single row takes more."""


@dataclass(frozen=True, eq=False)
class InputRollouts:
    """The rollouts of one input: its prompt and, of each rollout, its tokens and which of them the student chose."""

    prompt: list[int]
    tokens: list[list[int]]
    action_mask: list[list[bool]]


class Gradients(Protocol):
    """Where gradients are taken: by the head's weights, or by any weights.

    `length` is that of a gradient, `kept` that of the vectors which stand for it, the same where they are gradients.
    """

    length: int
    kept: int

    def of(self, rollouts: InputRollouts, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean gradient [M, D] and mean squared norm [M], over rollouts, of M rows of `weights[M, N, T]`.

        Weights are those of the actions of each rollout, moved to the left. Both are float64 on the CPU.
        """
        ...


class HeadGradients:
    """By the weights of the head alone, W with logits W h: Σ_t w_t δ_t h_tᵀ, never built for a rollout.

    δ_t = e_{a_t} - π_t, by which a cap on the logits is taken back. Squared norms are exact: wᵀ (H Hᵀ ∘ Δ Δᵀ) w with
    the rows h_t of H and δ_t of Δ. Where embeddings are tied to the head, their own share is left out.

    A shortened δ_t h_tᵀ is the circular convolution of the count sketches of both, a product of their Fourier
    transforms (Pham and Pagh, 2013, "Fast and scalable polynomial kernels via explicit feature maps"): as good as
    random signs of all its entries, for a pass over each vector.
    """

    def __init__(self, student: LanguageModel, seed: int, projection: int | None = None) -> None:
        if student.reading == "whole":
            raise ModelError(
                f"The head of {student.name!r} cannot be told from what follows it; use --gradient-of all."
            )
        self.student = student
        head: Any = student.network.get_output_embeddings()
        self.width = int(head.weight.shape[1])
        self.length = student.vocabulary * self.width
        self.kept = _kept(self.length, projection)
        if self.kept < self.length:
            generator = torch.Generator().manual_seed(seed)
            self.of_tokens, self.of_states = (
                CountSketch(size, self.kept, generator, student.device) for size in (student.vocabulary, self.width)
            )

    @torch.no_grad()
    def of(self, rollouts: InputRollouts, weights: Tensor) -> tuple[Tensor, Tensor]:
        """See `Gradients.of`."""
        samples, exact = len(rollouts.tokens), self.kept == self.length
        shape = (self.kept,) if exact else (self.kept // 2 + 1,)
        mean = torch.zeros(len(weights), *shape, dtype=torch.float64 if exact else torch.complex128)
        squares = torch.zeros(len(weights), dtype=torch.float64)
        for index, hidden, actions in _all_states(self.student, rollouts):
            own = weights[:, index, : len(actions)].double().to(hidden.device)
            delta, states = self._delta(hidden, actions), hidden.float()
            gram = ((states @ states.T) * (delta @ delta.T)).double()
            squares += ((own @ gram) * own).sum(1).cpu()
            mean += (self._outer(own, delta, states) if exact else self._shortened(own, delta, states)).cpu()
        if not exact:
            mean = torch.fft.irfft(mean, self.kept)
        return mean / samples, squares / samples

    def _delta(self, hidden: Tensor, actions: Tensor) -> Tensor:
        raw = logits(self.student, hidden)
        delta = -raw.softmax(-1)
        delta[torch.arange(len(actions)), actions] += 1
        cap = logit_cap(self.student)
        return delta if cap is None else delta * (1 - (raw / cap).square())

    def _shortened(self, own: Tensor, delta: Tensor, states: Tensor) -> Tensor:
        product = torch.fft.rfft(self.of_tokens(delta)) * torch.fft.rfft(self.of_states(states))
        return (own.to(product) @ product).to(torch.complex128)

    def _outer(self, own: Tensor, delta: Tensor, states: Tensor) -> Tensor:
        spread = (own.float()[:, :, None] * states).transpose(0, 1).reshape(len(states), -1)
        product = delta.T @ spread  # [V, M H]
        return product.reshape(-1, len(own), self.width).transpose(0, 1).reshape(len(own), -1).double()


class WeightGradients:
    """By any weights of the student, from a backward pass of every rollout for all rows at once.

    `pattern` is `all`, `last-block`, or a pattern of names of weights such as `*.layer.2.*`. Shortened vectors are
    count sketches. Squared norms are exact.
    """

    def __init__(self, student: LanguageModel, pattern: str, seed: int, projection: int | None = None) -> None:
        self.student = student
        self.weights = _matching(student, pattern)
        self.length = sum(weight.numel() for weight in self.weights)
        self.kept = _kept(self.length, projection)
        if self.kept < self.length:
            generator = torch.Generator().manual_seed(seed)
            self.shortened = CountSketch(self.length, self.kept, generator, torch.device("cpu"))

    def of(self, rollouts: InputRollouts, weights: Tensor) -> tuple[Tensor, Tensor]:
        """See `Gradients.of`."""
        samples, rows = len(rollouts.tokens), max(1, PASS_BYTES // (4 * self.length))
        at_once = self.kept == self.length or rows >= len(weights)  # the sum is shortened, not each of its terms
        total = torch.zeros(len(weights), self.length if at_once else self.kept)
        squares = torch.zeros(len(weights), dtype=torch.float64)
        for index, hidden, actions in _states(self.student, rollouts):
            log_pi = logits(self.student, hidden).log_softmax(-1)[torch.arange(len(actions)), actions]
            own = weights[:, index, : len(actions)].to(log_pi)
            for some in (slice(start, start + rows) for start in range(0, len(own), rows)):
                flat = self._gradients(log_pi, own[some])
                squares[some] += torch.linalg.vector_norm(flat, dim=1).double().square()
                total[some] += flat if at_once else self.shortened(flat)
        if at_once and self.kept < self.length:
            total = self.shortened(total)
        return total.double() / samples, squares / samples

    def _gradients(self, log_pi: Tensor, own: Tensor) -> Tensor:
        # the rollouts of an input share what was computed of its prompt
        found = torch.autograd.grad(
            log_pi, self.weights, own, is_grads_batched=True, materialize_grads=True, retain_graph=True
        )
        return torch.cat([gradient.reshape(len(own), -1).float().cpu() for gradient in found], dim=1)


class CountSketch:
    """Vectors of `length` numbers as `short` sums of them, each number with a random sign and in a random sum.

    Their products are those of the vectors on average, with a standard deviation of at most √(2 / `short`) times the
    lengths of both (Charikar, Chen and Farach-Colton, 2002).
    """

    def __init__(self, length: int, short: int, generator: torch.Generator, device: torch.device) -> None:
        self.short = short
        self.places = torch.randint(short, (length,), generator=generator).to(device)
        self.signs = (torch.randint(2, (length,), generator=generator, dtype=torch.int8) * 2 - 1).to(device)

    def __call__(self, vectors: Tensor) -> Tensor:
        """`vectors[M, length]` as [M, short]."""
        signed = (vectors * self.signs).T.contiguous()  # many times faster than adding along rows
        return signed.new_zeros(self.short, len(vectors)).index_add_(0, self.places, signed).T


def gradients(student: LanguageModel, where: str, seed: int, projection: int | None = None) -> Gradients:
    """`head`, `last-block`, `all` or a pattern of names; `UsageError` for a pattern that matches nothing.

    `projection` is the length of the vectors that stand for longer ones; `None` shortens those longer than
    `EXACT_LENGTH` to `SHORT`.
    """
    if where == "head":
        return HeadGradients(student, seed, projection)
    return WeightGradients(student, where, seed, projection)


def check_memory(found: Gradients, inputs: int, at_once: int, rows: int) -> None:
    """`ModelError` where the mean gradients of so many inputs, for so many rows, are more than what is free.

    Beside all of them stand those of the inputs `at_once`, as they are taken and as they are written, those of one
    input as they are added up, and copies of a few rows for their products.
    """
    vectors = rows * (inputs + 3 * min(inputs, at_once) + 3) + 8 * inputs
    needed, free = 4 * found.kept * vectors, free_bytes(torch.device("cpu"))
    if needed > free:
        less = f"--projection {SHORT:,} or a smaller --limit" if found.kept > SHORT else "a smaller --limit"
        raise ModelError(
            f"The gradients of {inputs:,} inputs for {rows} rows, {found.kept:,} numbers each, need {needed / 1e9:.1f} "
            f"GB and {free / 1e9:.1f} GB are free; use {less.replace(',', '')}."
        )


def _kept(length: int, projection: int | None) -> int:
    if projection is None:
        return length if length <= EXACT_LENGTH else SHORT
    return min(length, projection)


def _all_states(student: LanguageModel, rollouts: InputRollouts) -> Iterator[tuple[int, Tensor, Tensor]]:
    """What `_states` gives, from passes of many rollouts each."""
    here, shared = student.device, context(student, [rollouts.prompt])
    ids, kept = pad(rollouts.tokens, student.pad_id)
    mask, _ = pad([[int(one) for one in row] for row in rollouts.action_mask], 0)
    kept = kept & mask.bool()
    for rows in row_chunks(kept, shared.ahead):
        width = int(kept[rows].nonzero()[:, 1].max()) + 1
        hidden = hidden_states(student, shared, torch.zeros_like(rows).to(here), ids[rows, :width].to(here))
        for place, index in enumerate(rows.tolist()):
            mask = kept[index, :width]
            yield index, hidden[place][mask.to(hidden.device)], ids[index, :width][mask].to(hidden.device)


def _states(student: LanguageModel, rollouts: InputRollouts) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Of each rollout with actions: its number, the states [L, H] in which it chose, and what it chose [L]."""
    shared = context(student, [rollouts.prompt])
    for index, (tokens, mask) in enumerate(zip(rollouts.tokens, rollouts.action_mask, strict=True)):
        kept = torch.tensor(mask, dtype=torch.bool)
        if not kept.any():
            continue
        ids, _ = pad([tokens], student.pad_id)
        here = student.device
        hidden = hidden_states(student, shared, torch.tensor([0], device=here), ids.to(here))[0]
        yield index, hidden[kept.to(here)], ids[0][kept].to(here)


def _matching(student: LanguageModel, pattern: str) -> Sequence[Tensor]:
    named = dict(student.network.named_parameters())
    if pattern == "last-block":
        blocks = set(student.network._no_split_modules or ())
        inside = [name for name, module in student.network.named_modules() if type(module).__name__ in blocks]
        if not inside:
            raise ModelError(f"{student.name!r} does not say what its blocks are; use --gradient-of all or a pattern.")
        pattern = f"{inside[-1]}.*"
    found = [weight for name, weight in named.items() if pattern == "all" or fnmatch.fnmatch(name, pattern)]
    if not found:
        raise UsageError(_no_weight(student.name, pattern, list(named)))
    for weight in found:
        weight.requires_grad_()
    return found


def _no_weight(student: str, pattern: str, names: Sequence[str]) -> str:
    if inside := fnmatch.filter(names, f"{pattern}.*"):
        hint = f"{pattern}.* matches {len(inside)}"
    elif close := get_close_matches(pattern, ["head", "last-block", "all", *names], n=1):
        hint = f"did you mean {close[0]}"
    else:
        hint = f"use head, last-block, all, or a pattern of names such as {', '.join(names[:3])}"
    return f"--gradient-of {pattern!r} matches no weight of {student!r}; {hint}."
