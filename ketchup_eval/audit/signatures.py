"""What a function is given and what its result weighs: one adaptor for each form of argument list.

A form is chosen by the names of the function's parameters, so that it is called as its trainer does.
Every adaptor ends in the ascent direction at the student's logits, [R, T, V] in float64: for weights w that is
w_t (onehot(a_t) - π), for a scalar loss minus its gradient.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ketchup.choices import AuditSignature
from ketchup.errors import UsageError
from ketchup.maths.tabular import EOS
from ketchup_eval.audit.calls import Audited, AuditError
from ketchup_eval.audit.world import Batch

IGNORED = -100


@dataclass(frozen=True, eq=False)
class Result:
    """What a call came to: the ascent direction [R, T, V], and the largest weight where no action is."""

    direction: Tensor
    stray: float
    weights: Tensor = field(default_factory=lambda: torch.zeros(0))
    """As the function returned them, [R, T]; empty for a loss."""


@dataclass(frozen=True, eq=False)
class Given:
    """What a function can be given of a batch. The student's logits carry a gradient; weights ignore it."""

    batch: Batch
    student: Tensor

    @classmethod
    def of(cls, batch: Batch) -> "Given":
        """With a fresh leaf for the student's logits."""
        return cls(batch, batch.student_logits.clone().requires_grad_())

    @property
    def mask(self) -> Tensor:
        """True at actions, as numbers that trainers multiply by."""
        return self.batch.mask.to(self.student.dtype)

    @property
    def teacher_logprobs(self) -> Tensor:
        """Of the tokens that stand there, [R, T]."""
        return _taken(self.batch.teacher_logits, self.batch.ids)

    @property
    def student_logprobs(self) -> Tensor:
        """The same of the student, with its gradient."""
        return _taken(self.student, self.batch.ids)


def _taken(logits: Tensor, ids: Tensor) -> Tensor:
    return logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]


def _log_ratio(given: Given) -> Tensor:
    return (given.teacher_logprobs - given.student_logprobs.detach()) * given.mask


def _identity(given: Given) -> Tensor:
    """The head of a model whose hidden states are its logits."""
    return torch.eye(given.student.shape[-1], dtype=given.student.dtype)


Names = Mapping[str, Callable[[Given], Any]]

PLAIN: Names = {
    "teacher_logits": lambda g: g.batch.teacher_logits,
    "student_logits": lambda g: g.student,
    "teacher_logprobs": lambda g: g.teacher_logprobs,
    "student_logprobs": lambda g: g.student_logprobs,
    "ids": lambda g: g.batch.ids,
    "mask": lambda g: g.batch.mask,
    "attention_mask": lambda g: g.batch.attention,
    "groups": lambda g: g.batch.groups,
    "samples": lambda g: int((g.batch.groups == g.batch.groups[0]).sum()),
    "eos_id": lambda _: EOS,
}
"""Of the signatures `weights` and `loss`."""
ALIASES = {
    "teacher_log_probs": "teacher_logprobs",
    "teacher_logps": "teacher_logprobs",
    "ref_logprobs": "teacher_logprobs",
    "ref_log_probs": "teacher_logprobs",
    "student_log_probs": "student_logprobs",
    "student_logps": "student_logprobs",
    "log_probs": "student_logprobs",
    "logprobs": "student_logprobs",
    "logps": "student_logprobs",
    "input_ids": "ids",
    "tokens": "ids",
    "action_mask": "mask",
    "response_mask": "mask",
    "completion_mask": "mask",
    "loss_mask": "mask",
    "index": "groups",
    "num_generations": "samples",
    "eos_token_id": "eos_id",
}

TRL_JSD: Names = {
    "student_logits": lambda g: g.student,
    "teacher_logits": lambda g: g.batch.teacher_logits,
    "labels": lambda g: torch.where(g.batch.mask, g.batch.ids, IGNORED),
}
TRL_CHUNKED: Names = {
    "student_hidden_states": lambda g: g.student,
    "teacher_hidden_states": lambda g: g.batch.teacher_logits,
    "student_lm_head_weight": _identity,
    "teacher_lm_head_weight": _identity,
    "completion_mask": lambda g: g.batch.mask.long(),
}
TRL_MINILLM: Names = {
    "student_log_probs_on_labels": lambda g: g.student_logprobs.detach(),
    "teacher_log_probs_on_labels": lambda g: g.teacher_logprobs,
    "mask": lambda g: g.batch.mask,
}
VERL_ADVANTAGE: Names = {
    "token_level_rewards": _log_ratio,
    "response_mask": lambda g: g.mask,
    "values": lambda g: torch.zeros_like(g.teacher_logprobs),
    "index": lambda g: np.array([f"prompt-{group}" for group in g.batch.groups.tolist()], dtype=object),
    "gamma": lambda _: 1.0,
    "lam": lambda _: 1.0,
}
VERL_POLICY: Names = {
    "old_log_prob": lambda g: g.student_logprobs.detach(),
    "log_prob": lambda g: g.student_logprobs,
    "advantages": lambda g: _log_ratio(g).flip(1).cumsum(1).flip(1) * g.mask,
    "response_mask": lambda g: g.mask,
    "loss_agg_mode": lambda _: "token-mean",
}
TINKER: Names = {
    "data_D": lambda g: [_datum(g, row) for row in range(len(g.batch))],
    "teacher_clients_D": lambda g: [_teacher(g, row) for row in range(len(g.batch))],
    "dataset_indices_D": lambda g: [0] * len(g.batch),
    "kl_penalty_coef": lambda _: 1.0,
    "kl_discount_factor": lambda _: 0.0,
}


@dataclass(frozen=True)
class Form:
    """One argument list: `wanted` names tell it, `names` are all that can be given, `returns` is what comes back."""

    names: Names
    wanted: frozenset[str]
    returns: Literal["weights", "loss", "data"]


FORMS: dict[AuditSignature, tuple[Form, ...]] = {
    "weights": (Form(PLAIN, frozenset(), "weights"),),
    "loss": (Form(PLAIN, frozenset(), "loss"),),
    "trl": (
        Form(TRL_JSD, frozenset({"student_logits", "teacher_logits", "labels"}), "loss"),
        Form(TRL_CHUNKED, frozenset({"student_hidden_states", "teacher_hidden_states"}), "loss"),
        Form(TRL_MINILLM, frozenset({"student_log_probs_on_labels", "teacher_log_probs_on_labels"}), "weights"),
    ),
    "verl": (
        Form(VERL_ADVANTAGE, frozenset({"token_level_rewards", "response_mask"}), "weights"),
        Form(VERL_POLICY, frozenset({"old_log_prob", "log_prob", "advantages", "response_mask"}), "loss"),
    ),
    "tinker": (Form(TINKER, frozenset({"data_D", "teacher_clients_D"}), "data"),),
}
WHAT = {"weights": "weights [R, T] of ∇ log π", "loss": "a scalar loss", "data": "advantages in its data"}


@dataclass(frozen=True)
class Caller:
    """A function with the form in which it is called."""

    audited: Audited
    signature: AuditSignature
    form: Form

    def __call__(self, batch: Batch) -> Result:
        """Call it with a batch; `AuditError` where it raises or gives something else than it should."""
        given = Given.of(batch)
        arguments = {}
        for name in self.audited.names:
            source = name if name in self.form.names else ALIASES.get(name, name)
            if source in self.form.names:
                value = self.form.names[source](given)
                loses = self.form.returns == "weights" and isinstance(value, Tensor)
                arguments[name] = value.detach() if loses else value
        found = self.audited(arguments)
        if self.form.returns == "loss":
            return self._of_loss(found, given)
        if self.form.returns == "data":
            rows = [datum.loss_fn_inputs["advantages"].to_torch() for datum in arguments["data_D"]]
            return self._of_weights(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), given)
        return self._of_weights(found, given)

    def _of_loss(self, found: Any, given: Given) -> Result:
        loss = found[0] if isinstance(found, tuple) else found
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise AuditError(f"{self.audited.name} returned {_described(loss)}; {self.signature} wants a scalar loss.")
        if not loss.requires_grad:
            raise AuditError(
                f"The loss of {self.audited.name} has no gradient; compute it from student_logits or student_logprobs "
                "without detaching them."
            )
        (gradient,) = torch.autograd.grad(loss.sum(), given.student, allow_unused=True)
        if gradient is None:
            raise AuditError(f"The loss of {self.audited.name} does not depend on the student; detach nothing of it.")
        direction = -gradient.double()
        self._check_finite(direction[given.batch.mask])
        return Result(direction, _largest(direction.abs().amax(-1), ~given.batch.mask))

    def _of_weights(self, found: Any, given: Given) -> Result:
        weights = found[0] if isinstance(found, tuple) else found
        shape = tuple(given.batch.ids.shape)
        if isinstance(weights, (np.ndarray, list)):
            weights = torch.as_tensor(np.asarray(weights))
        if not isinstance(weights, Tensor) or tuple(weights.shape) != shape:
            raise AuditError(
                f"{self.audited.name} returned {_described(weights)}; {self.signature} wants {WHAT['weights']}, "
                f"here {list(shape)}."
            )
        weights, mask = weights.detach().double(), given.batch.mask
        self._check_finite(weights[mask])
        pi = given.student.detach().double().softmax(-1)
        score = torch.nn.functional.one_hot(given.batch.ids, pi.shape[-1]) - pi
        direction = torch.where(mask, weights, 0)[..., None] * score
        return Result(direction, _largest(weights.abs(), ~mask), weights)

    def _check_finite(self, values: Tensor) -> None:
        if not torch.isfinite(values).all():
            raise AuditError(f"{self.audited.name} gives numbers that are not finite where every input is.")


def caller(audited: Audited, signature: AuditSignature) -> Caller:
    """How a function is called under a signature; `UsageError` where its parameters are not those of any form."""
    names, forms = set(audited.names), FORMS[signature]
    form = next((form for form in forms if form.wanted <= names), None)
    if form is None:
        wanted = " or ".join(", ".join(sorted(form.wanted)) for form in forms)
        raise UsageError(
            f"{audited.name} has the parameters {', '.join(audited.names) or 'none'}; --signature {signature} wants "
            f"{wanted}."
        )
    known = form.names.keys() | (ALIASES.keys() if form.names is PLAIN else set())
    unknown = [name for name in audited.required if name not in known]
    if unknown:
        raise UsageError(
            f"{audited.name} needs {', '.join(unknown)}, which --signature {signature} does not give; it gives "
            f"{', '.join(form.names)}: name parameters so, and fill the others with functools.partial or a default."
        )
    if not names & known:
        raise UsageError(f"{audited.name} takes none of {', '.join(form.names)}; name its parameters so.")
    return Caller(audited, signature, form)


def _largest(values: Tensor, where: Tensor) -> float:
    return values[where].max().item() if bool(where.any()) else 0.0


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}" if value.dim() else "a number"
    return "None" if value is None else f"a {type(value).__name__}"


class _Stored:
    """What tinker keeps a tensor in: `data`, and `to_torch()`."""

    def __init__(self, values: Tensor) -> None:
        self.values, self.data = values, values.tolist()

    def to_torch(self) -> Tensor:
        """The tensor."""
        return self.values.clone()


class _Tokens(list[int]):
    """A model input that can be given one more token."""

    def append_int(self, token: int) -> "_Tokens":
        """The input and this token."""
        return _Tokens([*self, token])


def _datum(given: Given, row: int) -> SimpleNamespace:
    """A row as tinker has it: targets are the tokens, inputs those one before."""
    ids, mask = given.batch.ids[row], given.batch.mask[row]
    inputs = {
        "target_tokens": _Stored(ids),
        "logprobs": _Stored(given.student_logprobs.detach()[row] * mask),
        "mask": _Stored(mask.to(given.student.dtype)),
        "advantages": _Stored(torch.zeros_like(given.mask[row])),
    }
    return SimpleNamespace(model_input=_Tokens([EOS, *ids[:-1].tolist()]), loss_fn_inputs=inputs)


def _teacher(given: Given, row: int) -> SimpleNamespace:
    """A client that has the log-probs of a row, by either of the calls that versions of tinker have."""

    async def answer(*_sequence: Any) -> list[float | None]:
        return [None, *given.teacher_logprobs[row].tolist()]

    def compute_logprobs(_sequence: Any) -> SimpleNamespace:
        return SimpleNamespace(coroutine=answer)

    return SimpleNamespace(compute_logprobs_async=answer, compute_logprobs=compute_logprobs)
