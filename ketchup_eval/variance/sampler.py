"""How far the distribution that rollouts were drawn from is from the one that is scored, and what makes up for it.

μ is the engine's, π the scored one: see `ketchup.maths.importance`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ketchup.maths.importance import LEAST_SHARE, divergence, effective_share, log_ratios, truncated_ratios
from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.proportions import shares
from ketchup_eval.variance.over_inputs import OverInputs
from ketchup_eval.variance.rollout_store import ScoredBlock


@dataclass(frozen=True)
class SamplerGap:
    """The gap between μ and π on the rollouts, drawn from μ, of the inputs whose engine told of it."""

    mean_absolute: Estimate
    """|log μ - log π| per action, in nats."""
    kl: Estimate
    """KL(μ ‖ π) per action, in nats; each action's part of it is estimated without bias and never negative."""
    effective_share: Estimate
    """(Σ w)² / N Σ w² of the N rollouts of an input, w being the ratios of their probabilities; a mean over inputs."""
    truncated: Estimate
    """Share of the rollouts whose ratio is above √N, at which `--correct-sampler` holds it."""
    corrected: bool
    """Whether rollouts count as their truncated ratios in all other numbers."""

    @property
    def small(self) -> bool:
        """Whether it may be left as it is, see `LEAST_SHARE`."""
        return self.corrected or self.effective_share.value is None or self.effective_share.value >= LEAST_SHARE


def ratios_of(part: ScoredBlock) -> Array | None:
    """log w [I, N] of the rollouts of a block; `None` where the engine did not tell."""
    if "sampler_log_prob" not in part.values:
        return None
    scored, sampler = (torch.from_numpy(part.values[name]) for name in ("log_prob", "sampler_log_prob"))
    found: Array = log_ratios(scored, sampler, torch.from_numpy(part.mask)).numpy()
    return found


def weights_of(part: ScoredBlock) -> Array:
    """What each rollout counts [I, N]: its truncated ratio."""
    ratios = ratios_of(part)
    assert ratios is not None, "a part without ratios was not to be read"
    found: Array = truncated_ratios(torch.from_numpy(ratios), ratios.shape[1]).numpy()
    return found


def gap_columns(part: ScoredBlock) -> Array:
    """What `sampler_gap` needs of each input, [6, I]; NaN where the engine did not tell."""
    ratios = ratios_of(part)
    if ratios is None:
        return np.full((6, len(part.ids)), np.nan)
    scored, sampler = (torch.from_numpy(part.values[name]) for name in ("log_prob", "sampler_log_prob"))
    mask = torch.from_numpy(part.mask)
    per_action = (
        torch.where(mask, number, 0).sum((1, 2)).numpy()
        for number in ((sampler - scored).abs(), divergence(scored, sampler))
    )
    samples = ratios.shape[1]
    rows = [
        *per_action,
        part.mask.sum((1, 2)),
        effective_share(torch.from_numpy(ratios)).numpy(),
        (ratios > np.log(samples) / 2).sum(1),
        np.full(len(ratios), samples),
    ]
    return np.stack(rows).astype(float)


def sampler_gap(blocks: Sequence[Array], over: OverInputs, *, corrected: bool) -> SamplerGap | None:
    """The gap over the inputs of all blocks; `None` where no engine told."""
    absolute, kl, actions, effective, beyond, samples = np.concatenate(blocks, axis=1)[:, :, None]
    if np.isnan(actions).all():
        return None
    return SamplerGap(
        over.ratios(absolute, actions)[0],
        over.ratios(kl, actions)[0],
        over.means(effective)[0],
        shares(beyond, samples)[0],
        corrected,
    )
