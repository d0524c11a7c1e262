"""What an expected gradient can be the gradient of: objectives by their definitions, and the rows of our table.

Two gradients are the same up to a constant factor if what remains after the best factor is below `SAME` of the length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from ketchup.errors import UsageError
from ketchup.estimators import BASELINES, ESTIMATORS, Numbers, baseline, estimator
from ketchup.estimators.base import Baseline, Estimator
from ketchup.maths.tabular import Samples, World
from ketchup_eval.audit.gradients import Exact
from ketchup_eval.audit.terms import TERMS, lagging, placed
from ketchup_eval.audit.world import Prompts

SAME = 2e-5
"""Rounding of float32 inside a function is well below, a discount of 0.999 well above."""
OBJECTIVES = {
    "expected-return": "J, the expected return of the teacher's Bellman rewards",
    "log-likelihood": "E[log p(y)], the teacher's log-likelihood of whole outputs",
    "sequence-kl": "-KL(π‖p) of whole outputs",
    "state-kl": "-KL(π‖p) of each state as it comes, without the gradient of where the student leads itself",
    "state-forward-kl": "-KL(p‖π) of each of the student's states as it comes",
}
SYMBOLS = {"expected-return": "A", "log-likelihood": "ℓ", "sequence-kl": "(ℓ - λ)"}


@dataclass(frozen=True)
class Match:
    """What a gradient is, or is nearest to: `factor` times that of `name`, and what remains, in units of its length.

    `name` is an objective, a row with its parameters, or `none`; `what` says it in words.
    """

    name: str
    what: str
    factor: float
    remains: float
    cosine: float

    @property
    def same(self) -> bool:
        """Whether it is that, up to a positive factor."""
        return self.remains < SAME and self.factor > 0


@dataclass(frozen=True, eq=False)
class Listed:
    """All outputs of one prompt with all their numbers, and how likely each is."""

    world: World
    samples: Samples
    numbers: Numbers
    probabilities: Tensor

    @classmethod
    def of(cls, world: World) -> "Listed":
        """Every output once."""
        samples, probabilities = world.listed()
        return cls(world, samples, Numbers(samples.mask, 1, **world.known(samples)), probabilities)

    @classmethod
    def pairs(cls, world: World) -> "Listed":
        """Every ordered pair of outputs as two samples of the prompt; the probability is the pair's."""
        one, p = world.listed()
        index = torch.cartesian_prod(*[torch.arange(len(p))] * 2)
        at = index.flatten()
        samples = Samples(one.q[at], one.v[at], one.mask[at], one.actions[at], one.states[at])
        return cls(world, samples, Numbers(samples.mask, 2, **world.known(samples)), p[index].prod(1))

    def gradient(self, weights: Tensor) -> Tensor:
        """E[Σ_t w_t ∇ log π], [S, V], for weights [R, T] of single outputs."""
        return (self.probabilities[:, None, None] * self.world.gradients(self.samples, weights)).sum(0)


@cache
def known_of(prompts: Prompts) -> "Known":
    """One for each world, as most of it is needed again."""
    return Known(prompts)


class Known:
    """Gradients of everything with a name, in one world; of a mean over prompts, [S, V]."""

    def __init__(self, prompts: Prompts) -> None:
        self.prompts = prompts

    @cached_property
    def listed(self) -> list[Listed]:
        """All outputs of each prompt."""
        return [Listed.of(world) for world in self.prompts.worlds]

    @cached_property
    def objectives(self) -> dict[str, Tensor]:
        """Of the objectives, by autograd on their definitions."""
        return {name: self._differentiated(partial(_objective, name)) for name in OBJECTIVES}

    def divergence(self, beta: float) -> Tensor:
        """Of the generalised Jensen-Shannon divergence of each state as it comes, with its sign turned."""
        return self._differentiated(lambda world, logits: -_jensen_shannon(world, logits, beta))

    def row(self, text: str) -> Tensor:
        """The expected gradient of a row of the table."""
        row = estimator(text)
        if row.compares_samples:
            return torch.zeros_like(self.objectives["state-kl"])  # a placebo
        total = self.weighted(lambda n: row.returns(n, "raw"))
        return total + self._differentiated(_own_worth) if row.all_actions else total

    def weighted(self, weights: Callable[[Numbers], Tensor]) -> Tensor:
        """The expected gradient of weights [R, T]."""
        parts = [one.gradient(torch.where(one.numbers.mask, weights(one.numbers), 0)) for one in self.listed]
        return torch.cat(parts) / len(parts)

    @cached_property
    def horizon(self) -> int:
        """The longest output."""
        return max(world.horizon for world in self.prompts.worlds)

    @cached_property
    def lags(self) -> dict[str, list[Tensor]]:
        """Of each family, the gradients of the terms 0, 1, 2, ... actions later."""
        return {f: [self.weighted(partial(lagging, f, d)) for d in range(self.horizon)] for f in TERMS}

    @cached_property
    def places(self) -> dict[str, list[Tensor]]:
        """Of each family, the gradients of the terms of the actions 0, 1, 2, ..."""
        return {f: [self.weighted(partial(placed, f, i)) for i in range(self.horizon)] for f in TERMS}

    @cached_property
    def discrete(self) -> dict[str, Tensor]:
        """The gradients of rows whose parameter is a whole number."""
        names = [f"n-step:{n}" for n in range(1, self.horizon)]
        names += [f"k-step:{k}{tail}" for k in range(2, self.horizon) for tail in ("", ":one-step")]
        return {name: self.row(name) for name in names}

    def named(self, name: str) -> Tensor:
        """The gradient of an objective or a row; `UsageError` for a name that is neither."""
        if name in self.objectives:
            return self.objectives[name]
        if name == "none":
            return torch.zeros_like(self.objectives["state-kl"])
        if name.startswith("state-jsd:"):
            return self.divergence(_share(name))
        if name.split(":", maxsplit=1)[0] not in ESTIMATORS:
            raise UsageError(
                f"There is no objective or estimator {name!r}; --expect takes {', '.join(OBJECTIVES)}, none, "
                f"state-jsd:BETA, or a row of the table such as {', '.join(ESTIMATORS)}."
            )
        return self.row(name)

    def _differentiated(self, function: Callable[[World, Tensor], Tensor]) -> Tensor:
        parts = []
        for world in self.prompts.worlds:
            logits = world.student_logits().requires_grad_()
            parts.append(torch.autograd.grad(function(world, logits), logits)[0])
        return torch.cat(parts) / len(parts)


def identify(exact: Exact, known: Known) -> Match:
    """What an expected gradient is, or what it is nearest to."""
    if exact.gradient.norm() < 1e-7 * max(exact.size, 1e-300):
        return Match("none", "zero in expectation", 0.0, 0.0, 0.0)
    found = [compared(exact.gradient, known.objectives[name], name, what) for name, what in OBJECTIVES.items()]
    best = max(found, key=lambda match: abs(match.cosine))
    if best.remains < SAME:
        return best
    for candidate in (_discrete(exact.gradient, known), *(_of_lags(exact.gradient, known, f) for f in TERMS)):
        if candidate.remains < SAME:
            return candidate
        found.append(candidate)
    for fitted in (_absolute_discount(exact.gradient, known), _jensen(exact.gradient, known)):
        if fitted.remains < SAME:
            return fitted
    return best


def compared(gradient: Tensor, other: Tensor, name: str, what: str) -> Match:
    """A gradient against that of something known."""
    dot, length = (gradient * other).sum(), other.norm()
    if length == 0 or gradient.norm() == 0:
        return Match(name, what, 0.0, 0.0 if length == gradient.norm() else 1.0, 0.0)
    factor = (dot / length.square()).item()
    remains = ((gradient - factor * other).norm() / gradient.norm()).item()
    return Match(name, what, factor, remains, (dot / length / gradient.norm()).item())


def least_variance(prompts: Prompts, objective: str) -> tuple[str, float] | None:
    """The row and baseline of the table with the least variance of those that are unbiased for an objective.

    The variance is that of the mean over two samples of a prompt; `None` for an objective that no row has.
    """
    found: dict[str, float] = {}
    pairs = [Listed.pairs(world) for world in prompts.worlds]
    for text in (example for row in ESTIMATORS.values() for example in row.examples):
        row = estimator(text)
        if row.objective.name != objective or not row.unbiased or row.compares_samples or row.all_actions:
            continue
        for less in (baseline(name) for name in BASELINES):
            if less.unbiased:
                name = row.name if less.name == "none" else f"{row.name} with the baseline {less.name}"
                found[name] = sum(_variance(one, row, less) for one in pairs) / len(pairs)
    return min(found.items(), key=lambda item: item[1]) if found else None


def _variance(pairs: Listed, row: Estimator, less: Baseline) -> float:
    weights = less.weights(row.returns(pairs.numbers, "raw"), row.seen(pairs.numbers, "raw"), row.objective)
    both = pairs.world.gradients(pairs.samples, weights).flatten(1).view(len(pairs.probabilities), 2, -1).mean(1)
    mean = (pairs.probabilities[:, None] * both).sum(0)
    return ((pairs.probabilities * both.square().sum(1)).sum() - mean.square().sum()).item()


def _discrete(gradient: Tensor, known: Known) -> Match:
    """The nearest of the rows whose parameter is a whole number."""
    found = (compared(gradient, other, name, f"the row {name}") for name, other in known.discrete.items())
    return min(found, key=lambda match: match.remains)


def _of_lags(gradient: Tensor, known: Known, family: str) -> Match:
    """The best weighing of the terms 0, 1, 2, ... actions later, and its name where it has one."""
    basis = torch.stack([lag.flatten() for lag in known.lags[family]], dim=1)
    weights = torch.linalg.lstsq(basis, gradient.flatten()[:, None]).solution[:, 0]
    fitted = (basis @ weights).view_as(gradient)
    largest = max(weights.tolist(), key=abs)
    unit = weights[0].item() if abs(weights[0].item()) > 1e-4 * abs(largest) else largest
    name, what = _name_of(family, [w / unit for w in weights.tolist()])
    best = compared(gradient, fitted, name, what)
    return Match(name, what, unit, best.remains, best.cosine)


def _name_of(family: str, shares: Sequence[float]) -> tuple[str, str]:
    first, later = shares[1], shares[1:]

    def like(pattern: Sequence[float]) -> bool:
        return all(abs(a - b) < 1e-3 for a, b in zip(later, pattern, strict=True))

    listed = ", ".join(f"{0.0 if abs(share) < 1e-6 else share:.3g}" for share in shares)
    if abs(shares[0] - 1) > 1e-6:
        return f"{family}:lags", f"{OBJECTIVES[family]}, with terms 0, 1, 2, ... actions later weighed by {listed}"
    if like([0.0] * len(later)):
        return f"{family}:own", f"the first term of {family} alone: the action's own {SYMBOLS[family]}, nothing later"
    if like([first] * len(later)):
        name = f"shrink:{first:.4g}" if family == "expected-return" else f"{family} with later terms times {first:.4g}"
        return name, f"{OBJECTIVES[family]}, with all later terms times c = {first:.4g}"
    if like([first**d for d in range(1, len(shares))]):
        row = {"expected-return": "discount", "sequence-kl": "reverse-kl"}.get(family)
        name = f"{row}:{first:.4g}" if row else f"{family} discounted by {first:.4g}"
        return name, f"{OBJECTIVES[family]}, discounted: Σ γ^(i-t) {SYMBOLS[family]}_i with γ = {first:.4g}"
    return f"{family}:lags", f"{OBJECTIVES[family]}, with terms 0, 1, 2, ... actions later weighed by {listed}"


def _absolute_discount(gradient: Tensor, known: Known) -> Match:
    """The nearest γ^i for the i-th action of an output, as the gradient of a discounted objective has it."""

    def at(family: str, gamma: float) -> Match:
        form = f"Σ_(i≥t) γ^i {SYMBOLS[family]}_i with γ = {gamma:.4g}"
        words = f"{OBJECTIVES[family]}, discounted from the first action on: {form}"
        other = torch.stack([gamma**i * part for i, part in enumerate(known.places[family])]).sum(0)
        return compared(gradient, other, f"{family}:from-the-start:{gamma:.4g}", words)

    fits = [_least(partial(at, family), 0.05, 1) for family in TERMS]
    return min(fits, key=lambda match: match.remains)


def _jensen(gradient: Tensor, known: Known) -> Match:
    """The nearest generalised Jensen-Shannon divergence of states as they come."""

    def at(beta: float) -> Match:
        words = f"minus the generalised Jensen-Shannon divergence of each state as it comes, with β = {beta:.4g}"
        return compared(gradient, known.divergence(beta), f"state-jsd:{beta:.4g}", words)

    return _least(at, 0.01, 0.99)


def _least(at: Callable[[float], Match], low: float, high: float) -> Match:
    """The match of the parameter that leaves the least."""
    found = minimize_scalar(lambda x: at(x).remains, bounds=(low, high), method="bounded", options={"xatol": 1e-7})
    return at(float(found.x))


def _objective(name: str, world: World, logits: Tensor) -> Tensor:
    if name != "state-forward-kl":
        return world.objective(name, logits)
    log_pi, log_p = logits.log_softmax(-1), world.teacher_logits().log_softmax(-1)
    return -(_visits(world) * (log_p.exp() * (log_p - log_pi)).sum(-1)).sum()


def _jensen_shannon(world: World, logits: Tensor, beta: float) -> Tensor:
    """Σ_s visits(s) (β KL(p ‖ m) + (1 - β) KL(π ‖ m)), m = β p + (1 - β) π (arXiv 2306.13649)."""
    log_pi, log_p = logits.log_softmax(-1), world.teacher_logits().log_softmax(-1)
    log_m = (beta * log_p.exp() + (1 - beta) * log_pi.exp()).log()
    of_teacher = (log_p.exp() * (log_p - log_m)).sum(-1)
    of_student = (log_pi.exp() * (log_pi - log_m)).sum(-1)
    return (_visits(world) * (beta * of_teacher + (1 - beta) * of_student)).sum()


def _own_worth(world: World, logits: Tensor) -> Tensor:
    return (_visits(world) * (logits.softmax(-1) * world.teacher_logits()).sum(-1)).sum()


def _visits(world: World) -> Tensor:
    return torch.tensor([world.visits(state) for state in world.states], dtype=torch.float64)


def _share(name: str) -> float:
    try:
        share = float(name.removeprefix("state-jsd:"))
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise UsageError(f"{name!r} is no state-jsd:BETA; BETA is a number between 0 and 1.")
    return share
