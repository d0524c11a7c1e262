"""What must not matter: a batch is laid out in other ways, and the direction of each action is to stay as it is."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ketchup.choices import AuditSignature
from ketchup_eval.audit.gradients import Normaliser, Sees
from ketchup_eval.audit.signatures import Caller
from ketchup_eval.audit.world import Batch, Layout, Output, crafted, groups_of, lay_out

MOVED = 1e-6
"""Of the length of all directions: rounding is below."""
MOVED_BY_DTYPE = 1e-4
SIBLINGS = 12
"""Other samples that are tried beside an output."""
NORMALISERS: dict[str, Normaliser] = {
    "none": lambda _: 1.0,
    "rows": lambda batch: float(len(batch)),
    "actions": lambda batch: float(batch.mask.sum()),
    "cells": lambda batch: float(batch.mask.numel()),
}
"""What a result may be divided by: rows, actions of the batch, or rows times columns."""


@dataclass(frozen=True)
class Probe:
    """A layout that must give the same, and how much the directions moved, in units of the largest."""

    kind: str
    moved: float
    failed: bool


PLAIN = Layout()
LAYOUTS: dict[str, Layout] = {
    "padding-logits": replace(PLAIN, filler=3.0),
    "padding-token": replace(PLAIN, pad=2),
    "padding-side": replace(PLAIN, left=True),
    "width": replace(PLAIN, extra=2),
    "prompt-lengths": replace(PLAIN, prompt=True),
    "environment-tokens": replace(PLAIN, tools=True),
    "dtype": replace(PLAIN, dtype=torch.float32),
}
GIVEN: dict[AuditSignature, frozenset[str]] = {
    "verl": frozenset(LAYOUTS) - {"padding-side", "prompt-lengths"},  # responses start in the first column
    "tinker": frozenset({"prompt-lengths", "environment-tokens", "dtype"}),  # rows of their own, without padding
}
"""The layouts of each trainer; all, where it is not named."""


def outputs(other: int = 0) -> list[Output]:
    """Three prompts with two samples each, one to five actions, ended and cut; `other` changes the last two prompts."""
    shapes = [(3, True), (5, False), (1, True), (4, True), (2, False), (2, True)]
    if other:
        shapes[2:] = [(2, True), (5, True), (4, False), (1, True)]
    return [crafted(n, ended, i // 2, seed=i + (other if i > 1 else 0)) for i, (n, ended) in enumerate(shapes)]


def batch_of(rows: list[Output], layout: Layout = PLAIN) -> Batch:
    """Neighbours are samples of one prompt."""
    return lay_out(rows, groups_of(len(rows)).tolist(), layout)


def directions(call: Caller, batch: Batch, normaliser: Normaliser) -> list[Tensor]:
    """Of the actions of each row, [L, V]."""
    return [normaliser(batch) * row for row in batch.of_actions(call(batch).direction)]


def normaliser_of(call: Caller) -> str:
    """What the result is divided by; `none` too where no constant divisor explains what other rows do to it."""
    two = outputs()[:2]
    batches = [batch_of(two), batch_of(outputs()), batch_of(outputs(7)), batch_of(two, replace(PLAIN, extra=2))]
    found = [directions(call, batch, NORMALISERS["none"])[:2] for batch in batches]
    for name, divisor in NORMALISERS.items():
        scaled = [[divisor(batch) * row for row in rows] for batch, rows in zip(batches, found, strict=True)]
        if all(difference(scaled[0], rows) < MOVED for rows in scaled[1:]):
            return name
    return "none"


def sees(call: Caller, normaliser: Normaliser) -> Sees:
    """Which other rows the direction of a row depends on."""
    rows = outputs()
    base = directions(call, batch_of(rows), normaliser)
    if difference(base[:2], directions(call, batch_of(outputs(7)), normaliser)[:2]) > MOVED:
        return "batch"
    for seed in range(SIBLINGS):  # several: a comparison may change with the order of two values alone
        changed = [rows[0], crafted(1 + seed % 5, seed % 2 == 0, seed=30 + seed), *rows[2:]]
        if difference(base[:1], directions(call, batch_of(changed), normaliser)[:1]) > MOVED:
            return "samples"
    return "alone"


def invariances(call: Caller, normaliser: Normaliser, whose: Sees) -> list[Probe]:
    """All probes that a signature's trainer can bring about."""
    rows = outputs()
    base = directions(call, batch_of(rows), normaliser)
    found = []
    for kind in GIVEN.get(call.signature, frozenset(LAYOUTS)) & LAYOUTS.keys():
        moved = difference(base, directions(call, batch_of(rows, LAYOUTS[kind]), normaliser))
        found.append(Probe(kind, moved, moved > (MOVED_BY_DTYPE if kind == "dtype" else MOVED)))
    order = [4, 5, 1, 0, 2, 3]
    moved = difference([base[i] for i in order], directions(call, batch_of([rows[i] for i in order]), normaliser))
    found.append(Probe("row-order", moved, moved > MOVED))
    other = difference(base[:2], directions(call, batch_of(outputs(7)), normaliser)[:2])
    found.append(Probe("other-prompts", other if whose == "batch" else 0.0, whose == "batch"))
    return sorted(found, key=lambda probe: probe.kind)


def repeatable(call: Caller) -> bool:
    """Whether the same batch gives the same twice."""
    batch = batch_of(outputs())
    return torch.equal(call(batch).direction, call(batch).direction)


def rounded(call: Caller) -> str:
    """The type of few digits that holds every weight of a float64 batch exactly, if there is one."""
    if call.form.returns != "weights":
        return ""
    batch = batch_of(outputs())
    weights = call(batch).weights[batch.mask]
    whole = bool((weights == weights.round()).all())
    kinds = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    return next((name for name, kind in kinds.items() if not whole and (weights == weights.to(kind)).all()), "")


def difference(one: list[Tensor], other: list[Tensor]) -> float:
    """The largest difference, in units of the largest entry."""
    size = max(row.abs().max().item() for row in one)
    gap = max((a - b).abs().max().item() for a, b in zip(one, other, strict=True))
    return gap / size if size > 0 else gap
