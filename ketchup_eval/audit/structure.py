"""Which action's weight sees which action's teacher logit: C[t, i] = ∂w_t / ∂q_i, by moving one logit at a time.

A return that is right has C[t, i] = 0 for the past (i < t), 1 for the action itself, and the same for the end token as
for any other. Largest logit and logsumexp of a state stay as they are, so that C is the same for q, A, ℓ and ℓ - λ.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ketchup_eval.audit.gradients import Normaliser
from ketchup_eval.audit.signatures import Caller
from ketchup_eval.audit.world import Output, crafted, lay_out, lowered

LENGTHS = ((1, True), (2, True), (3, True), (5, True), (2, False), (3, False), (5, False))
STEP = 0.125
"""Nats that a logit is moved by."""
NOTHING = 1e-6
ALIKE = 1e-3
"""A small number that keeps a division from being by zero is below."""


@dataclass(frozen=True, eq=False)
class Structure:
    """What the matrices C say; a function that never looks at the teacher has none.

    `past` and `future` are the largest abs(C) there, in units of the largest; `shift` is -1 or 1 where a weight begins
    one action too early or too late; `end` and `cut` are what the last action counts in outputs that end and that are
    cut, in units of any other; `divided` is what a row's weights are divided by: its `length`, the `remaining` actions,
    or nothing; `rescaled` whether other samples change C; `limit` where it stops to see a logit (`None`: nowhere), as
    the value of the `weight` or the `nats` that the logit was lowered by (`limits`).
    """

    past: float = 0.0
    future: float = 0.0
    shift: int = 0
    end: float = 1.0
    cut: float = 1.0
    divided: str = ""
    rescaled: bool = False
    limit: float | None = None
    limits: str = ""
    matrices: dict[tuple[int, bool], Tensor] = field(default_factory=dict)


def structure_of(call: Caller, normaliser: Normaliser) -> Structure:
    """Of a function that is called with pairs of samples."""
    matrices = {shape: matrix(call, normaliser, *shape) for shape in LENGTHS}
    largest = max(c.abs().max().item() for c in matrices.values())
    if largest < NOTHING:
        return Structure()
    divided = _divided(matrices, NOTHING * largest)
    evened = {shape: _evened(c, divided) for shape, c in matrices.items()}
    largest = max(c.abs().max().item() for c in evened.values())
    small = NOTHING * largest
    past = max(c.tril(-1).abs().max().item() for c in evened.values()) / largest
    future = max(c.triu(1).abs().max().item() for c in evened.values()) / largest
    shift = _shift(evened, small)
    other = matrix(call, normaliser, 3, True, others=50)
    rescaled = (other - matrices[3, True]).abs().max().item() > 1e-4 * largest
    end, cut = (1.0, 1.0) if shift or rescaled else _last(evened, small)
    limit, limits = (None, "") if rescaled else _limit(call, normaliser)
    return Structure(
        past if past > NOTHING else 0.0,
        future if future > NOTHING else 0.0,
        shift,
        end,
        cut,
        divided,
        rescaled,
        limit,
        limits,
        matrices,
    )


def matrix(call: Caller, normaliser: Normaliser, length: int, ended: bool, others: int = 40) -> Tensor:
    """C [L, L] of one output, beside other samples of its prompt; `others` is what the teacher says of those."""
    output = _mild(crafted(length, ended))
    base = weights(call, normaliser, output, others)
    columns = [(base - weights(call, normaliser, lowered(output, i, STEP), others)) / STEP for i in range(length)]
    return torch.stack(columns, dim=1)


def weights(call: Caller, normaliser: Normaliser, output: Output, others: int = 40) -> Tensor:
    """w_t of each action [L], the direction along onehot(a_t) - π, beside three samples more.

    Divided by the standard deviation of two, a difference would be nothing but its sign.
    """
    beside = [crafted(n, n != 4, seed=n) for n in (2, 3, 4)]
    beside = [replace(one, teacher=crafted(len(one), one.ended, seed=others + len(one)).teacher) for one in beside]
    batch = lay_out([output, *map(_mild, beside)], [0] * 4)
    direction = normaliser(batch) * call(batch).direction[0][batch.mask[0]]
    score = torch.nn.functional.one_hot(output.actions, output.student.shape[1]) - output.student.softmax(-1)
    return (direction * score).sum(-1) / score.square().sum(-1)


def _mild(output: Output) -> Output:
    """With logits so near to each other that a limit that trainers use is not met."""
    return Output(output.prompt, output.actions, output.teacher / 4, output.student / 4, output.states)


def _divided(matrices: dict[tuple[int, bool], Tensor], small: float) -> str:
    """What the rows are divided by, from the coefficient of an action's own logit, or of the next where it has none."""
    place = 0 if matrices[5, False][0, 0].abs() > small else 1
    by_length = [matrices[n, False][0, place] * n for n in (2, 3, 5)]
    if _alike(by_length) and by_length[0].abs() > small:
        own = matrices[5, False].diagonal(place)
        remaining = own * (5 - torch.arange(len(own)))
        return "remaining" if _alike(list(remaining)) else "length"
    return ""


def _evened(c: Tensor, divided: str) -> Tensor:
    n = len(c)
    if divided == "remaining":
        return c * (n - torch.arange(n))[:, None]
    return c * n if divided == "length" else c


def _shift(matrices: dict[tuple[int, bool], Tensor], small: float) -> int:
    c = matrices[5, False]
    if c.diagonal()[:-1].abs().max() > small:
        return 0
    if c.diagonal(1).abs().min() > small:
        return 1
    return -1 if c.diagonal(-1).abs().min() > small else 0


def _last(matrices: dict[tuple[int, bool], Tensor], small: float) -> tuple[float, float]:
    """What the last action counts in outputs that end and that are cut: in its own weight, or in those before it.

    A cut one is measured against the same place in a longer output, an ended one against a cut one.
    """
    ended, cut, longer = matrices[3, True], matrices[3, False], matrices[5, False]
    inside = longer[2, 2].item()
    if abs(inside) < small:
        return 1.0, 1.0
    of_cut, of_end = (_ratio(c[2, 2].item(), inside) for c in (cut, ended))
    if abs(of_end - of_cut) < 1e-4 and abs(cut[0, 2]) > small:
        of_end *= _ratio(ended[0, 2].item(), cut[0, 2].item())
    return of_end, of_cut


def _ratio(one: float, other: float) -> float:
    return round(one / other, 6)


def _alike(values: list[Tensor]) -> bool:
    stacked = torch.stack(list(values))
    return (stacked.max() - stacked.min()).item() < ALIKE * stacked.abs().max().item() + 1e-12


def _limit(call: Caller, normaliser: Normaliser) -> tuple[float | None, str]:
    """The value beyond which an action's logit is not seen any more, and which value that is.

    A logit is lowered until nothing moves; if the weights of two places then stop at one value, that is a limit of the
    weight, else it is one of the term.
    """
    output = _mild(crafted(3, False))
    base, far, farther = (weights(call, normaliser, lowered(output, 1, nats)) for nats in (STEP, 200.0, 400.0))
    slope = (weights(call, normaliser, output) - base) / STEP
    seen = slope.abs() > NOTHING
    if not seen.any() or ((far - farther).abs()[seen] > 1e-3 * 200 * slope.abs()[seen]).any():
        return None, ""
    place = int(seen.nonzero()[0])
    values = far[seen]
    if len(values) > 1 and (values.max() - values.min()).abs() < NOTHING:
        return values[0].item(), "weight"
    low, high = 0.0, 200.0
    for _ in range(30):
        middle = (low + high) / 2
        stopped = (weights(call, normaliser, lowered(output, 1, middle)) - far)[place].abs() < NOTHING
        low, high = (low, middle) if stopped else (middle, high)
    before = weights(call, normaliser, lowered(output, 1, 0.9 * high))
    if (far[place] - before[place] + 0.1 * high * slope[place]).abs() > 1e-3 * high * slope[place].abs():
        return None, ""  # it fades, as a divergence does, and is not cut off
    return high, "nats"


def clamped_terms(nats: float) -> Iterator[tuple[str, float]]:
    """What the terms of the probed action are where the limit is met, for each family."""
    output = lowered(_mild(crafted(3, False)), 1, nats)
    q = output.teacher[1, output.actions[1]]
    log_pi = output.student.log_softmax(-1)[1, output.actions[1]]
    log_p = q - output.teacher[1].logsumexp(0)
    yield "A", (q - output.teacher[1].max()).item()
    yield "log p", log_p.item()
    yield "log p - log π", (log_p - log_pi).item()
