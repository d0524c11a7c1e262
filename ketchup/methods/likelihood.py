"""Weighted log-likelihood: cross-entropy on given tokens, and the policy gradient on the student's own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ketchup.errors import UsageError
from ketchup.maths.importance import divergence
from ketchup.methods.base import Loss, Method, Part, Sampling, Trajectory
from ketchup.methods.batches import action_states
from ketchup.methods.credit import Credit
from ketchup.models.language_model import LanguageModel
from ketchup.models.scoring import expected_advantages, log_probs


def cross_entropy(student: LanguageModel, _teacher: LanguageModel | None, batch: Sequence[Trajectory]) -> Loss:
    """Sum of -log π(a_t | s_t) over the actions of the batch, in nats.

    The eos action counts. Tokens that the environment writes are read, not learnt: the calculator writes them at
    inference too.
    """
    states, actions = action_states(student, batch)
    return Loss(-log_probs(student, states, actions).sum(), {})


class PolicyGradient:
    """Sum of -w_t log π(a_t | s_t) over the actions of the batch; its gradient is -Σ w_t ∇ log π (Eq. 8, Algorithm 1).

    w_t is the return estimate of the action less the baseline (`credit`), a constant. π is the distribution that was
    sampled from: at the sampling temperature, within the top k. Where the estimator leaves an action's first term to
    all actions, -Σ_a π(a | s_t) q(s_t, a) is added. The loss itself has no meaning, its gradient has.
    """

    def __init__(self, sampling: Sampling, *, all_actions: bool) -> None:
        self.sampling = sampling
        self.all_actions = all_actions

    def __call__(self, student: LanguageModel, teacher: LanguageModel | None, batch: Sequence[Trajectory]) -> Loss:
        """The sum, and per action the two quantities whose means estimate entropy and KL(π ‖ p), in nats."""
        states, actions = action_states(student, batch)
        drawn = (self.sampling.temperature, self.sampling.top_k)
        log_pi = log_probs(student, states, actions, *drawn)
        weights = _joined([row.weights for row in batch]).to(log_pi)
        log_p = _joined([row.teacher_log_probs for row in batch]).to(log_pi)
        noted = log_pi.detach()
        counted, gap = _against_sampler(noted, batch)
        total = -(counted * weights * log_pi).sum()
        if self.all_actions:
            assert teacher is not None, "the first term needs the teacher's logits"
            with torch.no_grad():
                seen, _ = action_states(teacher, batch)
            total = total - (counted * expected_advantages(teacher, student, seen, states, *drawn)).sum()
        return Loss(total, {"entropy": -noted.sum(), "reverse_kl": (noted - log_p).sum(), **gap})


def _against_sampler(log_pi: Tensor, batch: Sequence[Trajectory]) -> tuple[Tensor, dict[str, Tensor]]:
    """What each action of the batch [N] counts, and sums over the batch that say how far the sampler was.

    An action counts as its trajectory's ratio does, or 1 where nothing is to be corrected; the sums are empty where an
    engine did not tell. Squares of ratios are summed too: from them follows the effective share.
    """
    counted = torch.ones_like(log_pi)
    drawn = [row.sampler_log_probs for row in batch]
    if any(row is None for row in drawn):
        return counted, {}
    log_mu = _joined(drawn).to(log_pi.device, torch.float64)
    actions = torch.tensor([row.actions for row in batch], device=log_pi.device)
    of_row = torch.arange(len(batch), device=log_pi.device).repeat_interleave(actions)
    log_pi = log_pi.double()  # hundreds of differences add up to one logarithm of a ratio
    ratios = torch.zeros(len(batch), dtype=torch.float64, device=log_pi.device).index_add(0, of_row, log_pi - log_mu)
    ratios = ratios.exp()
    for place, row in enumerate(batch):
        if row.most_ratio is not None:
            counted[of_row == place] = float(ratios[place].clamp(max=row.most_ratio))
    return counted, {
        "sampler_gap": (log_pi - log_mu).abs().sum(),
        "sampler_kl": divergence(log_pi, log_mu).sum(),
        "sampler_ratio": ratios.sum(),
        "sampler_ratio_squared": ratios.square().sum(),
        "sampler_rollouts": torch.tensor(float(len(batch))),
    }


def _joined(rows: Sequence[Tensor | None]) -> Tensor:
    """A number for each action of the batch [N], as the states are in order; rows without actions have none."""
    return torch.cat([row for row in rows if row is not None])


def policy_gradient(name: str, credit: Credit, sampling: Sampling) -> Method:
    """A method that weighs the log-probabilities of the student's own rollouts by `credit`."""
    for row, said in ((credit.estimator, "estimator"), (credit.baseline, "baseline")):
        if row.compares_samples and sampling.samples_per_input < 2:
            raise UsageError(
                f"The {said} {row.name} compares the rollouts of an input; use --samples-per-input 2 or more."
            )
    part = Part("student", PolicyGradient(sampling, all_actions=credit.estimator.all_actions))
    return Method(name, (part,), compares=True, sampling=sampling, credit=credit)
