"""The audit: what a function's expected gradient is, and every reason to doubt it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from ketchup.choices import AuditSignature
from ketchup_eval.audit import sentences
from ketchup_eval.audit.calls import AuditError, load
from ketchup_eval.audit.gradients import SIZES, Exact, Sees, evaluate, prompts_for
from ketchup_eval.audit.objectives import OBJECTIVES, Known, Match, compared, identify, known_of, least_variance
from ketchup_eval.audit.probes import (
    NORMALISERS,
    PLAIN,
    batch_of,
    invariances,
    normaliser_of,
    outputs,
    repeatable,
    rounded,
    sees,
)
from ketchup_eval.audit.sentences import Finding
from ketchup_eval.audit.signatures import Caller, Result, caller
from ketchup_eval.audit.structure import structure_of
from ketchup_eval.audit.world import PAIRS, Batch, prompts_of

FACTORS = (1.0, 2.0, 4.0)
"""How many times as far apart the teacher's logits are where a clamp is judged."""
MOVED_BY_CONSTANTS = 1e-5


@dataclass(frozen=True)
class Audit:
    """What was found; `tried` is what the layouts changed, and `as_expected` is `None` where nothing was expected."""

    function: str
    signature: AuditSignature
    match: Match
    verdict: str
    findings: tuple[Finding, ...]
    tried: tuple[str, ...]
    expected: str | None
    as_expected: bool | None
    expectation: str

    @property
    def faults(self) -> list[Finding]:
        """What makes the gradient another."""
        return [finding for finding in self.findings if finding.level == "fault"]

    def as_json(self) -> dict[str, Any]:
        """All of it in plain types."""
        return asdict(self)


def audit(target: str, signature: AuditSignature, expect: str | None = None) -> Audit:
    """Audit the function that FILE.py:FUNCTION names.

    Raises `UsageError` for a name that is none and parameters that the signature does not give, `DataError` for what
    cannot be imported, `AuditError` for a function that cannot be judged.
    """
    torch.manual_seed(0)
    if expect is not None:
        known_of(prompts_of(PAIRS)).named(expect)
    call = caller(load(target), signature)
    if not repeatable(call):
        raise AuditError(
            f"{call.audited.name} gives other numbers for the same batch; fix its seed or turn its dropout off."
        )
    study = Study(call)
    found = Audit(
        call.audited.name,
        signature,
        study.match,
        sentences.verdict(study.match),
        tuple(study.findings()),
        tuple(probe.kind for probe in study.probes),
        expect,
        None,
        "",
    )
    if expect is None:
        return found
    agreement = study.agreement(expect)
    faults = [fault for fault in found.faults if not (expect == "none" and fault.kind == "zero")]
    said = sentences.expectation(expect, agreement, len(faults))
    return replace(found, as_expected=agreement.same and not faults, expectation=said)


class Study:
    """One function, looked at from all sides."""

    def __init__(self, call: Caller) -> None:
        self.call = call
        self.divisor = normaliser_of(call)
        self.normaliser = NORMALISERS[self.divisor]
        self.sees: Sees = sees(call, self.normaliser)
        self.prompts = prompts_for(self.sees)
        self.known = known_of(self.prompts)
        self.exact = self.evaluated(call)
        self.match = identify(self.exact, self.known)
        self.structure = structure_of(call, self.normaliser)
        self.probes = invariances(call, self.normaliser, self.sees)

    def evaluated(self, call: Callable[[Batch], Result]) -> Exact:
        """The exact moments of a function in the world."""
        return evaluate(call, self.prompts, self.sees, self.normaliser)

    def agreement(self, expect: str) -> Match:
        """The gradient against that of a name."""
        if expect == "none":
            return replace(self.match, factor=1.0, remains=0.0 if self.match.name == "none" else 1.0)
        return compared(self.exact.gradient, self.known.named(expect), expect, OBJECTIVES.get(expect, expect))

    def findings(self) -> Iterator[Finding]:
        """Every sentence, in the order in which it should be read."""
        structure, right = self.structure, self.match.remains == 0 or self.match.same
        yield from sentences.of_direction(self.match)
        yield from sentences.of_time(structure)
        if not right:
            yield from sentences.of_ends(structure)
        undone = self._undone(structure.divided) if structure.divided and not right else None
        yield from sentences.of_division(structure, self.match, undone, self.divisor)
        if structure.limit is not None:
            yield sentences.of_limit(structure, {factor: self._left_over_at(factor) for factor in FACTORS})
        yield from (sentences.of_probe(probe) for probe in self.probes if probe.failed)
        bits = rounded(self.call)
        if bits:
            yield sentences.of_rounding(bits)
        yield from self._constants()
        stray = self.call(batch_of(outputs(), replace(PLAIN, tools=True, prompt=True, extra=1))).stray
        if stray > 1e-9:
            yield sentences.of_no_actions(stray, masked_later=self.call.form.returns == "weights")
        yield from self._variance()

    def _undone(self, divided: str) -> Match:
        """What the gradient is without the division of each row."""

        def whole(batch: Batch) -> Result:
            found = self.call(batch)
            count = batch.mask.cumsum(1)
            factor = count[:, -1:] if divided == "length" else count[:, -1:] - count + 1
            return Result(found.direction * factor[..., None], found.stray)

        return identify(self.evaluated(whole), self.known)

    def _left_over_at(self, factor: float) -> float:
        if self.match.name == "none":
            return 0.0
        prompts = prompts_of(SIZES[self.sees]).apart(factor)
        exact = evaluate(self.call, prompts, self.sees, self.normaliser)
        name = self.match.name if self.match.name in OBJECTIVES else "expected-return"
        return compared(exact.gradient, Known(prompts).named(name), "", "").remains

    def _constants(self) -> Iterator[Finding]:
        for change in ("centred", "shifted"):
            exact = evaluate(self.call, self.prompts.with_teacher(change), self.sees, self.normaliser)
            size = max(self.exact.gradient.norm().item(), 1e-6 * self.exact.size)
            moved = (exact.gradient - self.exact.gradient).norm().item() / size if size else 0.0
            if moved > MOVED_BY_CONSTANTS:
                yield sentences.of_constants(change, moved)
                return

    def _variance(self) -> Iterator[Finding]:
        if not self.match.same or self.match.name not in OBJECTIVES:
            return
        prompts = self.prompts if self.sees == "batch" else prompts_of(PAIRS)
        best = least_variance(prompts, self.match.name)
        if best is not None:
            mine = evaluate(self.call, prompts, self.sees, self.normaliser)
            yield sentences.of_variance(best[0], mine.variance / self.match.factor**2, best[1])
