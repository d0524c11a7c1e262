"""Credit for people's own trainers: from logits, or two numbers a token, to the weights of a policy gradient."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ketchup import checks
from ketchup.choices import Gauge
from ketchup.errors import UsageError
from ketchup.estimators import Numbers
from ketchup.estimators import baseline as baseline_named
from ketchup.estimators import estimator as estimator_named
from ketchup.estimators.numbers import gauge_needs
from ketchup.maths.divergences import expected_value, token_statistics

ABOVE = 1e-2
"""How far, relative to 1 + |v|, q may lie above v by rounding: bfloat16 keeps three digits."""


@dataclass(frozen=True, eq=False)
class Weighted:
    """What `credit` gives: `weights[R, T]` of ∇ log π, 0 where `mask[R, T]` is False.

    `returns[R, T]` are the estimates before the baseline. `signature` names estimator, baseline and gauge. All are
    constants: no gradient flows through them. They are float32, or float64 where float64 numbers were given.
    """

    weights: Tensor
    returns: Tensor
    mask: Tensor
    signature: str


@torch.no_grad()
def credit(
    teacher_logits: Tensor | None = None,
    ids: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    q: Tensor | None = None,
    v: Tensor | None = None,
    student_logits: Tensor | None = None,
    log_probs: Tensor | None = None,
    estimator: str = "llmr",
    baseline: str = "none",
    groups: Sequence[Hashable] | Tensor | None = None,
    gauge: Gauge = "raw",
) -> Weighted:
    """How much each action of some rollouts is worth: the weights w_t in the loss -Σ_t w_t log π(a_t | s_t).

    `teacher_logits[R, T, V]` at position t are those that predict `ids[R, T]` at t: shift the output of a causal model
    by one. In their place may stand `q[R, T]`, the teacher's logit of each action, and `v[R, T]`, its largest logit,
    both without the constant of the state, that is as log-probabilities, where the gauge is `logprob` (as it always is
    for `soft` and `reverse-kl`). `mask[R, T]` is True at the tokens that the student chose, the end-of-sequence
    token among them; padding may be on either side, and holes (what a tool or a calculator wrote) anywhere: neither is
    an action, and what stands there is never looked at. A rollout that was cut off ends with its last action.

    `estimator` is a row of `ESTIMATORS` with its parameters, such as `llmr`, `k-step:4`, `shrink:0.25`, `reverse-kl:0`;
    `baseline` one of `BASELINES`. Rows that look at the student's distribution need `student_logits[R, T, V]` (or, if
    the probability of the action is enough, `log_probs[R, T]`). `groups[R]` says which rollouts are samples of one
    input, in any order; all inputs need as many. Without it each rollout is an input of its own. `gauge` is the
    constant of the logits in each state: `raw`, `centered` or `logprob`. Weights are in nats, without gradient.

    Example:

        teacher_logits, log_probs = torch.randn(4, 6, 9), torch.randn(4, 6, requires_grad=True)
        ids, mask, prompt_ids = torch.randint(9, (4, 6)), torch.ones(4, 6, dtype=torch.bool), [0, 0, 1, 1]
        w = ketchup.credit(teacher_logits, ids, mask, estimator="k-step:4", baseline="leave-one-out", groups=prompt_ids)
        loss = -(w.weights * log_probs).sum() / w.mask.sum()
        loss.backward()

    Raises `UsageError` for a row that does not exist, shapes and types that do not fit, ids that are no tokens and
    numbers that are not finite at an action, groups of different size or of one where samples are compared, and a
    number that the row needs and was not given.
    """
    checks.choice("gauge", gauge, Gauge)
    _check_kinds(
        {"teacher_logits": teacher_logits, "ids": ids, "mask": mask, "q": q, "v": v}
        | {"student_logits": student_logits, "log_probs": log_probs},
        {"estimator": estimator, "baseline": baseline},
    )
    row, less = estimator_named(estimator), baseline_named(baseline)
    if row.all_actions:
        raise UsageError(f"{estimator} has a term over the whole vocabulary besides its weights; use another row.")
    given = _numbers(teacher_logits, ids, q, v, student_logits, log_probs)
    if teacher_logits is None and (row.gauge or gauge) == "logprob":
        given["logsumexp"] = torch.zeros_like(given["q"])
    actions = _actions(mask, given["q"])
    needs = row.needs | less.needs
    lacking = sorted(needs - given.keys())
    if lacking:
        raise UsageError(
            f"{estimator} with the baseline {baseline} needs {', '.join(lacking)}: give the logits of both."
        )
    if teacher_logits is not None and ids is not None:
        _check_ids(ids, actions, teacher_logits.shape[-1])
    _check_numbers(given, actions, needs | gauge_needs(row.gauge or gauge))
    if teacher_logits is None and (row.gauge or gauge) == "logprob":
        _check_log_probs(
            "q", given["q"], actions, " in the gauge logprob: take log_softmax first, or give teacher_logits"
        )
    if "log_prob" in needs:
        _check_log_probs("log_probs", given["log_prob"], actions, ": take log_softmax of the student's logits first")
    order, samples = _by_group(groups, len(actions))
    if (row.compares_samples or less.compares_samples) and (groups is None or (order and samples == 1)):
        which = "say which by groups" if groups is None else "and groups has one rollout of each"
        raise UsageError(f"{estimator} with the baseline {baseline} compares samples of one input: {which}.")
    signature = f"{row.signature(gauge)}|baseline:{less.name}"
    if not actions.numel():  # no rollout, or none that is longer than 0
        nothing = torch.zeros_like(given["q"])
        return Weighted(nothing, nothing, actions, signature)
    place = torch.tensor(order, device=actions.device)
    numbers = Numbers.of(actions[place], samples, **{name: x[place] for name, x in given.items()})
    returns = row.returns(numbers, gauge)
    weights = less.weights(returns, row.seen(numbers, gauge), row.objective)
    there = torch.empty_like(place)
    there[place] = torch.arange(len(order), device=place.device)
    return Weighted(
        _spread(weights[there], actions),
        _spread(returns[there], actions),
        actions,
        signature,
    )


def _numbers(
    teacher_logits: Tensor | None,
    ids: Tensor | None,
    q: Tensor | None,
    v: Tensor | None,
    student_logits: Tensor | None,
    log_probs: Tensor | None,
) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    if teacher_logits is not None:
        if ids is None or q is not None or v is not None:
            raise UsageError("credit takes teacher_logits with ids, or q and v in their place.")
        _check_axes("teacher_logits", teacher_logits, "[R, T, V]")
        _check_shape("ids", ids, teacher_logits.shape[:-1])
        if ids.dtype == torch.bool or ids.is_floating_point():
            raise UsageError(f"ids must be whole numbers, not {ids.dtype}.")
        if not teacher_logits.shape[-1]:
            raise UsageError("teacher_logits has a vocabulary of 0 tokens.")
        ids = ids.long()
        found |= token_statistics(teacher_logits, ids.clamp(0, teacher_logits.shape[-1] - 1))._asdict()
    elif q is None or v is None:
        raise UsageError("credit takes teacher_logits with ids, or both q and v.")
    else:
        _check_axes("q", q, "[R, T]")
        _check_axes("v", v, "[R, T]")
        _check_shape("v", v, q.shape)
        found |= {"q": q, "v": v}
    if log_probs is not None:
        _check_shape("log_probs", log_probs, found["q"].shape)
        found["log_prob"] = log_probs
    if student_logits is not None:
        if teacher_logits is None or ids is None:
            raise UsageError("credit takes student_logits beside teacher_logits and ids.")
        _check_shape("student_logits", student_logits, teacher_logits.shape)
        log_pi = F.log_softmax(student_logits.to(found["q"].dtype), dim=-1)
        pi = log_pi.exp()
        own = log_pi.gather(-1, ids.clamp(0, log_pi.shape[-1] - 1)[..., None])[..., 0]
        found |= {
            "log_prob": own,
            "entropy": -torch.where(pi > 0, pi * log_pi, 0).sum(-1),
            "collision": pi.square().sum(-1),
            "own_value": expected_value(teacher_logits, pi),
        }
    return {name: values.detach() for name, values in found.items()}


def _check_kinds(tensors: Mapping[str, object], names: Mapping[str, object]) -> None:
    for name, value in tensors.items():
        if value is not None and not isinstance(value, Tensor):
            raise UsageError(f"{name} must be a tensor, not a {type(value).__name__}.")
    for name, text in names.items():
        if not isinstance(text, str):
            raise UsageError(f"{name} must be a row's name, not {text!r}.")


def _actions(mask: Tensor | None, q: Tensor) -> Tensor:
    if mask is None:
        return torch.ones_like(q, dtype=torch.bool)
    _check_shape("mask", mask, q.shape)
    if not ((mask == 0) | (mask == 1)).all():
        raise UsageError("mask must be True (or 1) at actions and False (or 0) elsewhere, and has other numbers.")
    return mask.bool()


def _check_ids(ids: Tensor, actions: Tensor, vocabulary: int) -> None:
    """What stands outside the vocabulary would be taken for another token's logit."""
    outside = actions & ((ids < 0) | (ids >= vocabulary))
    if outside.any():
        raise UsageError(
            f"ids has {int(ids[outside][0])} at {_where(outside)}, and tokens are 0 to {vocabulary - 1}: leave it out "
            "of the mask."
        )


def _check_numbers(given: Mapping[str, Tensor], actions: Tensor, needs: Collection[str]) -> None:
    for name in sorted(needs & given.keys()):
        wrong = actions & ~given[name].isfinite()
        if wrong.any():
            found = float(given[name][wrong][0])
            raise UsageError(f"{name} is {found} at {_where(wrong)}: mend the logits, or leave it out of the mask.")
    above = actions & (given["q"] - given["v"] > ABOVE * (1 + given["v"].abs()))
    if above.any():
        raise UsageError(
            f"q is above v at {_where(above)}, and v is the teacher's largest logit: take both from the same logits."
        )


def _check_log_probs(name: str, values: Tensor, actions: Tensor, fix: str) -> None:
    above = actions & (values > ABOVE)
    if above.any():
        found = float(values[above][0])
        raise UsageError(f"{name} is {found:g} at {_where(above)}, and a log-probability is at most 0{fix}.")


def _where(places: Tensor) -> str:
    """Which actions, by the first of them."""
    first = places.nonzero()[0].tolist()
    return f"{first}" if int(places.sum()) == 1 else f"{first} and {int(places.sum()) - 1} more places"


def _check_axes(name: str, values: Tensor, axes: str) -> None:
    if values.ndim != axes.count(",") + 1:
        raise UsageError(f"{name} has the shape {list(values.shape)}, and {axes} is wanted.")
    if not values.is_floating_point():
        raise UsageError(f"{name} must be floating-point numbers, not {values.dtype}.")


def _check_shape(name: str, values: Tensor, shape: Sequence[int]) -> None:
    if tuple(values.shape) != tuple(shape):
        raise UsageError(f"{name} has the shape {list(values.shape)}, and {list(shape)} is wanted.")


def _by_group(groups: Sequence[Hashable] | Tensor | None, rows: int) -> tuple[list[int], int]:
    """The rows in an order in which those of a group are neighbours, and how many each has."""
    if groups is None:
        return list(range(rows)), 1
    names = groups.tolist() if isinstance(groups, Tensor) else list(groups)
    if not all(isinstance(name, list | Hashable) for name in names):
        raise UsageError("groups names the input of each rollout by something that compares: a number or a text.")
    if len(names) != rows:
        raise UsageError(f"groups names the inputs of {len(names)} rollouts, and there are {rows}.")
    members: dict[Hashable, list[int]] = {}
    for index, name in enumerate(names):
        members.setdefault(tuple(name) if isinstance(name, list) else name, []).append(index)
    sizes = {len(indices) for indices in members.values()}
    if len(sizes) > 1:
        raise UsageError(f"groups has inputs with {min(sizes)} and with {max(sizes)} rollouts; give each as many.")
    return [index for indices in members.values() for index in indices], sizes.pop() if sizes else 1


def _spread(packed: Tensor, actions: Tensor) -> Tensor:
    """Values of the actions of each row, moved to the left, put back to where these actions are."""
    place = (actions.cumsum(dim=1) - 1).clamp(min=0)
    return torch.where(actions, packed.gather(1, place), 0)
