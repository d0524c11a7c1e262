"""Exact expected gradients and variances: sums over all outputs, or over all pairs of two samples of a prompt."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ketchup_eval.audit.signatures import Result
from ketchup_eval.audit.world import ALONE, ONE_BY_ONE, PAIRS, Batch, Prompts, groups_of, prompts_of

Sees = str
"""What the direction of a row depends on besides itself: `alone`, `samples` of its prompt, or the `batch`."""
SIZES = {"alone": ALONE, "samples": PAIRS, "batch": ONE_BY_ONE}
Normaliser = Callable[[Batch], float]


@dataclass(frozen=True, eq=False)
class Exact:
    """Of a mean over two samples of a prompt: its expectation [S, V], and its variance summed over coordinates.

    Both are averaged over prompts. `size` is the mean length of one sample's gradient, `noise` its variance.
    """

    gradient: Tensor
    variance: float
    size: float


def evaluate(call: Callable[[Batch], Result], prompts: Prompts, sees: Sees, normaliser: Normaliser) -> Exact:
    """The exact moments of a function's direction; `normaliser` is what a batch is multiplied by."""
    count = len(prompts.worlds)
    states, vocabulary = prompts.student.shape
    gradient = torch.zeros(states, vocabulary, dtype=torch.float64)
    variance = size = 0.0
    for prompt, (listed, probabilities) in enumerate(prompts.batches):
        first, last = prompts.first_state[prompt], prompts.first_state[prompt + 1]
        if sees == "alone":
            one = _dense(call(listed), listed, normaliser, first, last)
            mean = (probabilities[:, None] * one).sum(0)
            spread = (probabilities * one.square().sum(1)).sum() - mean.square().sum()
            variance += spread.item() / 2 / count
            size += (probabilities * one.norm(dim=1)).sum().item() / count
        else:
            index = torch.cartesian_prod(*[torch.arange(len(probabilities))] * 2)
            p = probabilities[index].prod(1)
            both = _pairs(call, listed, index, normaliser, sees, first, last)
            mean = (p[:, None] * both).sum(0)
            variance += ((p * both.square().sum(1)).sum() - mean.square().sum()).item() / count
            size += (p * both.norm(dim=1)).sum().item() / count
        gradient[first:last] = mean.view(-1, vocabulary) / count
    return Exact(gradient, variance, size)


def prompts_for(sees: Sees) -> Prompts:
    """The world in which a function is judged, small enough for how much it sees."""
    return prompts_of(SIZES[sees])


def _pairs(
    call: Callable[[Batch], Result],
    listed: Batch,
    index: Tensor,
    normaliser: Normaliser,
    sees: Sees,
    first: int,
    last: int,
) -> Tensor:
    """The mean gradient of each pair, [pairs, S V]."""
    if sees == "samples":
        batch = listed.take(index.flatten(), groups_of(index.numel()))
        return _dense(call(batch), batch, normaliser, first, last).view(len(index), 2, -1).mean(1)
    means = []
    for pair in index:
        batch = listed.take(pair, groups_of(2))
        means.append(_dense(call(batch), batch, normaliser, first, last).mean(0))
    return torch.stack(means)


def _dense(found: Result, batch: Batch, normaliser: Normaliser, first: int, last: int) -> Tensor:
    """The direction of each row at the logits of all states of a prompt, [R, S V]."""
    rows, columns = batch.mask.nonzero(as_tuple=True)
    dense = torch.zeros(len(batch), last - first, found.direction.shape[-1], dtype=torch.float64)
    dense[rows, batch.states[rows, columns] - first] = normaliser(batch) * found.direction[rows, columns]
    return dense.flatten(1)
