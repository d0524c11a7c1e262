"""What a study of variance finds: each student's numbers from its stored rollouts, and all of them together."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from ketchup.estimators.numbers import gauge_needs
from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.intervals import ENOUGH, Concentration, concentration
from ketchup_eval.stats.proportions import shares
from ketchup_eval.variance.estimates import ReturnEstimate, summarise
from ketchup_eval.variance.gradient.study import GradientResult
from ketchup_eval.variance.lengths import length_variances
from ketchup_eval.variance.per_input import InputStatistics, PerInput, concatenate
from ketchup_eval.variance.rollout_store import PartStore, ScoredBlock
from ketchup_eval.variance.sampler import SamplerGap, gap_columns, sampler_gap, weights_of
from ketchup_eval.variance.variance_settings import AnalysisSettings, RolloutSettings

CORRECT = "--correct-sampler"
Of = Literal["returns", "gradients"]


@dataclass(frozen=True)
class StudentResult:
    """One student: how far it is from the teacher, and what each estimator does to its return.

    `kl` is KL(teacher‖student) per action in nats, over the full vocabulary, on the student's own rollouts. Of a
    teacher that does not tell all its logits there is `reverse_kl` in its place: the mean of log π - log p over the
    actions, which estimates KL(student‖teacher). `mean_return` is E[G_0] (Eq. 10) in the raw gauge, of such a teacher
    in the gauge logprob; `mean_length` counts actions; `ended` is the share that chose eos
    in time. `length_share` is the share of Var[G_0] within inputs that is linear in the length of the rollout: what the
    terms of a return have in common because they end together; absent below three samples. `concentration` is that of
    Var[G_0] over the inputs. `longest` counts the actions of the longest rollout. `sampler` is how far the engine was
    from the student as it is scored, absent where the engine did not tell.
    """

    name: str
    kl: Estimate | None
    mean_return: Estimate
    mean_length: Estimate
    longest: int
    ended: Estimate
    length_share: Estimate
    concentration: Concentration | None
    estimates: list[ReturnEstimate]
    sampler: SamplerGap | None = None
    gradient: GradientResult | None = None
    reverse_kl: Estimate | None = None

    @property
    def distance(self) -> Estimate:
        """How far the student is from the teacher, by the KL that is known."""
        found = self.reverse_kl if self.kl is None else self.kl
        assert found is not None
        return found

    @property
    def enough_inputs(self) -> bool:
        """Whether the variance rests on so many inputs that intervals can be taken at their word."""
        return self.concentration is None or self.concentration.effective >= ENOUGH


@dataclass(frozen=True)
class VarianceResult:
    """A whole study: its settings in short, its students by falling KL, and where the time went."""

    rollouts: RolloutSettings
    analysis: AnalysisSettings
    inputs: int
    students: list[StudentResult]
    seconds: dict[str, float]

    def frame(self, of: Of = "returns") -> Any:
        """The numbers as a pandas frame, a row for each student, estimator and quantity; absent ones are NaN.

        Of `returns`, as in `variance.csv`, the columns are student, kl, estimator, tail, k, quantity, value, low, high
        and n. Of `gradients`, where they were measured, baseline and batch stand for tail and k.
        """
        from ketchup_eval.variance.frames import frame  # noqa: PLC0415  (pandas takes its time)

        return frame(self, of)


def student_result(name: str, store: PartStore, rollouts: RolloutSettings, analysis: AnalysisSettings) -> StudentResult:
    """All estimates of one student, from its stored rollouts."""
    per_input, over = PerInput(analysis.estimators, analysis.gauge), analysis.intervals
    statistics: list[InputStatistics] = []
    blocks, gaps, longest = [], [], 0
    for part in store.read(_wanted(rollouts, analysis)):
        longest = max(longest, part.mask.shape[2])
        weights = weights_of(part) if analysis.correct_sampler else None
        statistics.append(per_input(part.numbers, None if weights is None else torch.from_numpy(weights)))
        blocks.append(_description(part, weights))
        gaps.append(gap_columns(part))
    mean_returns, mean_lengths, actions, distance, ended, samples, *by_length = np.concatenate(blocks, axis=1)[
        :, :, None
    ]
    over_inputs = concatenate(statistics)
    return StudentResult(
        name,
        kl=None if analysis.served else over.ratios(distance, actions)[0],
        reverse_kl=over.ratios(distance, actions)[0] if analysis.served else None,
        mean_return=over.means(mean_returns)[0],
        mean_length=over.means(mean_lengths)[0],
        longest=longest,
        ended=shares(ended, samples)[0],
        length_share=over.ratios(*by_length)[0],
        concentration=concentration(over_inputs.variance[:, 0]),
        estimates=summarise(over_inputs, analysis.gauge, over)[1:],
        sampler=sampler_gap(gaps, over, corrected=analysis.correct_sampler),
    )


def _wanted(rollouts: RolloutSettings, analysis: AnalysisSettings) -> dict[str, str | None]:
    """The stored values that are read, and who needs each."""
    told = ("logsumexp",) if analysis.served else ("kl",)
    wanted: dict[str, str | None] = dict.fromkeys(("q", "v", "log_prob", *told), "the table")
    for row in analysis.estimators:
        wanted |= dict.fromkeys(row.needs | gauge_needs(row.gauge or analysis.gauge), row.name)
    if wanted["log_prob"] != "the table" and (rollouts.decoding.temperature not in (0, 1) or rollouts.decoding.top_k):
        # Parts from before Ē was kept have log π of the student as it is, not of the distribution that was sampled.
        wanted.setdefault("own_value", wanted["log_prob"] if not analysis.served else None)
    wanted["sampler_log_prob"] = CORRECT if analysis.correct_sampler else None
    return wanted


def _description(part: ScoredBlock, weights: Array | None) -> Array:
    """What describes each input beside the estimates, [8, I].

    Mean return, mean length, all actions, their distance, rollouts that ended, rollouts, and `length_variances`;
    rollouts count as their `weights` [I, N].
    """
    returns, lengths = _returns(part), part.mask.sum(2).astype(float)
    counted = np.ones_like(lengths) if weights is None else weights / weights.mean(1, keepdims=True)
    rows = [
        (counted * returns).mean(1),
        (counted * lengths).mean(1),
        (counted * lengths).sum(1),
        (counted * _distances(part).sum(2)).sum(1),
        (counted * part.ended).sum(1),
        np.full(len(lengths), lengths.shape[1]),
        *length_variances(returns, lengths, weights).T,
    ]
    return np.stack(rows).astype(float)


def _distances(part: ScoredBlock) -> Array:
    """KL(teacher‖student) of each state or, where it is not known, log π - log p of each action; [I, N, T]."""
    known = part.values
    return known["kl"] if "kl" in known else known["log_prob"] - (known["q"] - known["logsumexp"])


def _returns(part: ScoredBlock) -> Array:
    """G_0 = v_0 + Σ_t A_t of each rollout, [I, N], raw gauge."""
    advantages = np.where(part.mask, part.values["q"] - part.values["v"], 0.0)
    returns: Array = part.values["v"][:, :, 0] + advantages.sum(2)
    return returns
