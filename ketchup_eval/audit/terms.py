"""The term that each action adds to a return, by objective, and where an audit looks for it."""

from collections.abc import Callable

import torch
from torch import Tensor

from ketchup.estimators import Numbers


def log_p(n: Numbers) -> Tensor:
    """log p of each action."""
    return n.q - of(n.logsumexp)


def of(values: Tensor | None) -> Tensor:
    """What is there of a world, of which all is."""
    assert values is not None  # of a world all is known
    return values


def present(n: Numbers, values: Tensor) -> Tensor:
    """0 where there is no action."""
    return torch.where(n.mask, values, 0)


def placed(family: str, place: int, n: Numbers) -> Tensor:
    """The term of one action, as the weight of it and all before it."""
    terms = TERMS[family](n)
    weights = torch.zeros_like(terms)
    if place < terms.shape[1]:
        weights[:, : place + 1] = terms[:, place : place + 1]
    return weights


def lagging(family: str, steps: int, n: Numbers) -> Tensor:
    """The term so many actions later, 0 past the end."""
    terms = TERMS[family](n)
    moved = torch.zeros_like(terms)
    kept = max(terms.shape[1] - steps, 0)
    moved[:, :kept] = terms[:, steps:]
    return moved


TERMS: dict[str, Callable[[Numbers], Tensor]] = {
    "expected-return": lambda n: n.advantages,
    "log-likelihood": lambda n: present(n, log_p(n)),
    "sequence-kl": lambda n: present(n, log_p(n) - of(n.log_prob)),
}
"""The term that each action adds to the return of all before it."""
