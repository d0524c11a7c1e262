"""What votes say of two systems, and of the judge: shares, biases, agreement and length, all with intervals over items.

An array of votes is [n, 4]: a row an item, a column a variant (`protocol.VARIANTS`), +1 for system a, -1 for b, NaN
where there is no parsed vote. The four votes of an item share its texts, so intervals are over items, never over votes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ketchup_eval.judge.protocol import VARIANTS
from ketchup_eval.stats.bootstrap import Array, Bootstrap, Estimate
from ketchup_eval.stats.corpus import percentile_estimate
from ketchup_eval.stats.permutation import sign_flip_p_values
from ketchup_eval.stats.proportions import shares

A_FIRST = np.array([1.0 if a_first else -1.0 for a_first, _ in VARIANTS])
A_IS_A = np.array([1.0 if a_is_a else -1.0 for _, a_is_a in VARIANTS])


@dataclass(frozen=True)
class Effects:
    """One system against the baseline by one criterion. Shares are of 1; effects lie between -1 and 1.

    * `vote_share`: share of a among all parsed votes, the paper's win rate; `p_value` of "a and b are alike" by sign
      flips of the items' sums of votes. `lowest` and `highest` bound the share, were every missing vote b's or a's.
    * `complete_share`: the same over the items with all four votes. There no bias of place or ID can leak in: it
      cancels within the item.
    * Over the same items, `position` is P(prefers what is shown first) - P(prefers what is shown second), `id` is
      P(prefers "A") - P(prefers "B"). A judge that always says "A" has a vote share of exactly 0.5, `id` 1 and
      `position` 0; one that always picks the first shown has `position` 1 and `id` 0. `interaction` is how much more a
      is preferred where the IDs stand in the order A, B than where they stand B, A, halved.
    * `majority_a`, `tied`, `majority_b`: shares of the same items by the majority of their four votes.
      `consistent`: share whose four votes agree.
    * `alpha`: Krippendorff's, nominal, with the four variants as raters, over items with two or more votes.
    * `longer`: share of the votes for the longer output, where lengths in characters differ. `equal_length`: vote share
      at equal length, the intercept of a straight line of the items' shares through the relative difference of
      lengths, (len a - len b) / (len a + len b), and `length_slope` its slope. `extrapolated`: one system
      is longer on every item, so that the intercept lies outside the data.
    * `soft_share`: mean probability of a's ID instead of votes, if log-probabilities were asked for.

    Intervals of shares and effects are those of `proportions.shares`, which have some width even where all items agree;
    those of alpha and of the straight line are bootstraps.
    """

    vote_share: Estimate
    p_value: float | None
    lowest: float | None
    highest: float | None
    complete_share: Estimate
    position: Estimate
    id: Estimate
    interaction: Estimate
    majority_a: Estimate
    tied: Estimate
    majority_b: Estimate
    consistent: Estimate
    alpha: Estimate
    longer: Estimate
    equal_length: Estimate
    length_slope: Estimate
    extrapolated: bool
    soft_share: Estimate


def effects(votes: Array, lengths: Array, soft: Array, bootstrap: Bootstrap) -> Effects:
    """All estimates from `votes[n, 4]`, `lengths[n, 2]` (a, b; characters) and `soft[n, 4]` (probability of a's ID)."""
    wins, parsed = item_votes(votes)
    (vote_share,) = shares(wins, parsed)
    missing = np.isnan(votes).sum()
    contrasts, states = _of_complete_items(votes)
    soft_sums, soft_counts = np.nansum(soft, axis=1, keepdims=True), (~np.isnan(soft)).sum(axis=1, keepdims=True)
    (soft_share,) = shares(soft_sums, soft_counts)
    equal_length, slope, extrapolated = _length_line(votes, lengths, bootstrap)
    return Effects(
        vote_share=vote_share,
        p_value=sign_flip_p_values(np.where(parsed > 0, 2 * wins - parsed, np.nan), bootstrap.seed)[0],
        lowest=float(np.nansum(wins) / votes.size) if votes.size else None,
        highest=float((np.nansum(wins) + missing) / votes.size) if votes.size else None,
        **dict(zip((*_STATES, "complete_share"), shares(states, np.ones_like(states)), strict=True)),
        **dict(zip(_CONTRASTS, of_contrasts(contrasts), strict=True)),
        alpha=krippendorff_alpha(votes, bootstrap),
        longer=_longer(votes, lengths),
        equal_length=equal_length,
        length_slope=slope,
        extrapolated=extrapolated,
        soft_share=soft_share,
    )


def item_votes(votes: Array) -> tuple[Array, Array]:
    """How many votes of each item a has, and how many were parsed, each [n, 1]; NaN for an item without any."""
    parsed = (~np.isnan(votes)).sum(axis=1, keepdims=True)
    wins = (votes > 0).sum(axis=1, keepdims=True)
    return np.where(parsed > 0, wins, np.nan), np.where(parsed > 0, parsed, np.nan)


def krippendorff_alpha(votes: Array, bootstrap: Bootstrap) -> Estimate:
    """Krippendorff's alpha for nominal data with missing votes; `None` if no vote differs from any other.

    α = 1 - D_o/D_e = 1 - (N - 1) Σ_u a_u b_u / (m_u - 1) / (A B), where item u has a_u votes for a and b_u for b,
    m_u = a_u + b_u of at least 2, and A, B, N are their sums (Krippendorff, 2011).
    """
    a, b = (votes > 0).sum(axis=1), (votes < 0).sum(axis=1)
    pairable = a + b >= 2
    disagreement = a * b / np.maximum(a + b - 1, 1)
    values = np.where(pairable[:, None], np.stack([a, b, disagreement], axis=1), 0.0)

    def alpha(means: Array) -> Array:
        total_a, total_b, disagreements = (bootstrap.n * means).T
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = total_a * total_b
            return np.where(expected > 0, 1 - (total_a + total_b - 1) * disagreements / expected, np.nan)

    return of_means(values, alpha, bootstrap, int(pairable.sum()))


def of_means(values: Array, function: Callable[[Array], Array], bootstrap: Bootstrap, n: int) -> Estimate:
    """An estimate of a function of the means of `values[n, m]`: `function` takes means [r, m] to values [r].

    Resamples in which the function is undefined (all draws alike, say) are left out of the interval, unless there are
    too many (`corpus.defined`).
    """
    value = function(np.nanmean(values, axis=0, keepdims=True))[0] if n else np.nan
    if np.isnan(value):
        return Estimate(None, None, None, n)
    return percentile_estimate(float(value), function(bootstrap.resampled_means(values)), n, bootstrap.level)


def of_contrasts(values: Array) -> list[Estimate]:
    """The mean of each column of `values[n, m]`, numbers from -1 to 1 or NaN, with the interval of a share."""
    return [share.scaled(2, -1) for share in shares((1 + values) / 2, np.ones_like(values))]


_CONTRASTS = ("position", "id", "interaction")
_STATES = ("majority_a", "tied", "majority_b", "consistent")


def _of_complete_items(votes: Array) -> tuple[Array, Array]:
    """Per item the `_CONTRASTS`, and the `_STATES` with its share of votes; NaN where a vote is missing."""
    mean = votes.mean(axis=1)
    contrasts = np.stack([(votes * sign).mean(axis=1) for sign in (A_FIRST, A_IS_A, A_FIRST * A_IS_A)], axis=1)
    states = np.stack([mean > 0, mean == 0, mean < 0, np.abs(mean) == 1, (1 + mean) / 2], axis=1)
    return contrasts, np.where(np.isnan(mean)[:, None], np.nan, states)


def _longer(votes: Array, lengths: Array) -> Estimate:
    wins, parsed = item_votes(votes)
    a_longer = lengths[:, :1] > lengths[:, 1:]
    for_longer = np.where(a_longer, wins, parsed - wins)
    differ = lengths[:, :1] != lengths[:, 1:]
    (estimate,) = shares(np.where(differ, for_longer, np.nan), np.where(differ, parsed, np.nan))
    return estimate


def _length_line(votes: Array, lengths: Array, bootstrap: Bootstrap) -> tuple[Estimate, Estimate, bool]:
    """Intercept and slope of the items' vote shares over the relative difference of lengths, and if it extrapolates."""
    wins, parsed = item_votes(votes)
    share = (wins / parsed)[:, 0]
    gap = (lengths[:, 0] - lengths[:, 1]) / np.maximum(lengths.sum(axis=1), 1)
    known = ~np.isnan(share)
    values = np.stack([gap, gap**2, share, gap * share], axis=1)
    values = np.where(known[:, None], values, np.nan)

    def slopes(means: Array) -> Array:
        x, xx, y, xy = means.T
        spread = xx - x**2
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(spread > 1e-12, (xy - x * y) / spread, np.nan)

    def intercepts(means: Array) -> Array:
        result: Array = means[:, 2] - slopes(means) * means[:, 0]
        return result

    n = int(known.sum())
    extrapolated = not (n and gap[known].min() <= 0 <= gap[known].max())
    return of_means(values, intercepts, bootstrap, n), of_means(values, slopes, bootstrap, n), extrapolated
