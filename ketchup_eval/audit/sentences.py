"""What is found, in sentences: each says one thing, with its figures, and whether the gradient is another for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ketchup_eval.audit.objectives import OBJECTIVES, SAME, Match
from ketchup_eval.audit.probes import Probe
from ketchup_eval.audit.structure import Structure, clamped_terms

Level = Literal["fault", "note"]
MATTERS = {
    "padding-logits": "the logits in padding",
    "padding-token": "which token stands in padding, after the end",
    "padding-side": "the side of the padding",
    "width": "the width of the batch",
    "prompt-lengths": "prompts of different length before the outputs",
    "environment-tokens": "tokens of the environment between actions",
    "dtype": "float32 or float64",
    "row-order": "the order of the rows",
    "other-prompts": "the outputs of other prompts in the batch",
}
"""What must not matter."""
NEARLY = 0.01
COUNTED = {0.0: "left out", 2.0: "counted twice", 3.0: "counted three times"}


@dataclass(frozen=True)
class Finding:
    """One sentence: `kind` is its name, a `fault` makes the gradient another, `figures` are its numbers."""

    kind: str
    level: Level
    sentence: str
    figures: dict[str, float]


def verdict(match: Match) -> str:
    """What the expected gradient is."""
    if match.name == "none":
        return "The expected gradient is zero."
    if match.remains < SAME:
        turned = "minus " if match.factor < 0 else ""
        exact = "unbiased" if match.name in OBJECTIVES or match.name.startswith("state-jsd") else "a biased form of it"
        return f"The expected gradient is {turned}{abs(match.factor):.4g} times that of {match.what} ({exact})."
    return (
        f"The expected gradient is that of none of the known objectives; the nearest is {match.what}, {apart(match)}."
    )


def expectation(expect: str, agreement: Match, faults: int) -> str:
    """Whether it is what was expected."""
    if not agreement.same:
        return f"It is not {expect}: {apart(agreement)}."
    if faults:
        return f"In this world it is {expect}, but not on all batches: see above."
    return f"It is {expect}, as expected."


def apart(match: Match) -> str:
    """How far a gradient is from what it is compared with."""
    return f"at a cosine of {match.cosine:.4f}, with {100 * match.remains:.3g}% of its length left over"


def of_direction(match: Match) -> Iterator[Finding]:
    """A gradient that points the wrong way, or nowhere."""
    if match.name == "none":
        yield Finding(
            "zero",
            "fault",
            "Its expected gradient is zero and teaches nothing: the weights depend on the state alone, or on nothing "
            "that the action changes.",
            {},
        )
    elif match.factor < 0:
        yield Finding(
            "wrong-sign",
            "fault",
            f"The sign is wrong: it climbs down what it should climb up (cosine {match.cosine:.4f}).",
            {"cosine": match.cosine},
        )


def of_time(s: Structure) -> Iterator[Finding]:
    """Which actions a weight sums over."""
    if s.shift:
        where = "next" if s.shift > 0 else "previous"
        yield Finding(
            "off-by-one",
            "fault",
            f"Off by one against the mask: the weight of an action looks at the teacher's value of the {where} action "
            "and not at that of the action itself.",
            {"shift": float(s.shift)},
        )
    elif s.past and not s.future:
        yield Finding(
            "backwards",
            "fault",
            "Wrong direction of time: the weight of an action sums over the actions before it and sees none after it. "
            "The past adds nothing to the expected gradient, so that only the action's own term is left.",
            {"past": s.past},
        )
    elif s.past:
        yield Finding(
            "past",
            "note",
            "It reads the past: weights depend on earlier actions too. By itself that changes no expected gradient and "
            "adds variance.",
            {"past": s.past},
        )


def of_ends(s: Structure) -> Iterator[Finding]:
    """What the last action counts."""
    if s.cut in COUNTED:
        yield Finding(
            "cut-as-ended",
            "fault",
            "Outputs that were cut are treated as though they had ended: their last action, which is no end token, is "
            f"{COUNTED[s.cut]} like one.",
            {"weight_of_last": s.cut},
        )
    elif s.end in COUNTED:
        yield Finding("end-token", "fault", f"The end token is {COUNTED[s.end]}.", {"weight_of_end": s.end})
    if s.matrices and all(c.abs().max() == 0 for (_, ended), c in s.matrices.items() if not ended):
        yield Finding("cut-ignored", "fault", "Outputs that were cut have no weight at all.", {})


def of_division(s: Structure, match: Match, undone: Match | None, divisor: str) -> Iterator[Finding]:
    """What weights are divided by; `undone` is what the gradient is without that."""
    figures = {"remains": match.remains, "cosine": match.cosine}
    if undone:
        by = "its length" if s.divided == "length" else "the number of actions that are left"
        nearly = "" if undone.same else f" but for {100 * undone.remains:.2g}% of its length"
        then = f"; without that it is {undone.what}{nearly}" if undone.remains < NEARLY else ""
        yield Finding(
            f"divided-by-{s.divided}",
            "fault",
            f"The weights of an output are divided by {by}, which makes another objective of it{then}.",
            figures,
        )
    if s.rescaled:
        yield Finding(
            "standardised",
            "fault",
            "The other samples change the scale of a weight, as division by their standard deviation does: inputs "
            f"whose values differ little then count as much as others, and the gradient is biased ({apart(match)}).",
            figures,
        )
    if divisor == "cells":
        yield Finding(
            "width",
            "fault",
            f"It depends on {MATTERS['width']}: it is a mean over rows times columns, padding among them.",
            {},
        )
    elif divisor != "none":
        of = "rows" if divisor == "rows" else "actions of the batch"
        yield Finding(
            f"mean-over-{divisor}",
            "note",
            f"It is a mean over the {of}, a constant factor where batches are alike; the figures here are of the sum.",
            {},
        )


def of_limit(s: Structure, remains: dict[float, float]) -> Finding:
    """A clamp, and what it leaves over beside the nearest objective where the teacher's logits are further apart."""
    assert s.limit is not None
    terms = {"weights": s.limit} if s.limits == "weight" else dict(clamped_terms(s.limit))
    round_ones = {name: value for name, value in terms.items() if abs(100 * value - round(100 * value)) < 1e-3}
    held = " or ".join(f"{name} at {value:.4g}" for name, value in (round_ones or terms).items())
    bias = ", ".join(f"{100 * share:.3g}% at {factor:g} times the teacher's gaps" for factor, share in remains.items())
    return Finding(
        "clamped",
        "fault" if remains[1.0] > SAME else "note",
        f"A clamp holds {held}; of the gradient's length beside the objective are left over {bias}.",
        {"limit": s.limit, **{f"remains_at_{factor:g}": share for factor, share in remains.items()}},
    )


def of_probe(probe: Probe) -> Finding:
    """Something that must not matter, and does."""
    return Finding(
        probe.kind,
        "fault",
        f"It depends on {MATTERS[probe.kind]}: weights move by {probe.moved:.2g} of the largest.",
        {"moved": probe.moved},
    )


def of_rounding(bits: str) -> Finding:
    """Numbers that carry fewer digits than they were given with."""
    return Finding(
        "rounded", "fault", f"It computes in {bits}, whatever it is given: that type holds each weight exactly.", {}
    )


def of_constants(change: str, moved: float) -> Finding:
    """A constant of a state that moves the expected gradient."""
    how = "centring" if change == "centred" else "a constant added to"
    return Finding(
        "gauge",
        "fault",
        f"It depends on {how} the teacher's logits of a state, which changes nothing about the teacher: the expected "
        f"gradient moves by {moved:.2g} of its length.",
        {"moved": moved},
    )


def of_no_actions(stray: float, masked_later: bool) -> Finding:
    """Weights of tokens that the student did not choose; harmless if the loss masks them."""
    then = " have weights too; multiply by the mask before the loss." if masked_later else " have a gradient too."
    return Finding(
        "no-actions",
        "note" if masked_later else "fault",
        f"Tokens that are no actions (prompt, environment or padding){then}",
        {"largest": stray},
    )


def of_variance(name: str, variance: float, least: float) -> Finding:
    """Its noise beside that of the table."""
    return Finding(
        "variance",
        "note",
        f"Its variance is {variance / least:.3g} times that of {name}, the least of the table's unbiased rows here.",
        {"variance": variance, "least": least, "ratio": variance / least},
    )
