"""What each estimator does to the return of one student: averages over inputs, with intervals."""

from dataclasses import dataclass

import numpy as np

from ketchup.choices import Gauge, Tail
from ketchup_eval.stats.bootstrap import Array, Estimate
from ketchup_eval.stats.proportions import shares
from ketchup_eval.variance.over_inputs import OverInputs
from ketchup_eval.variance.per_input import InputStatistics
from ketchup_eval.variance.slices import Slice, slices
from ketchup_eval.variance.theory import PIECES, TheoryGap, theory_gap


@dataclass(frozen=True)
class ReturnEstimate:
    """One estimator, averaged over inputs; intervals are paired across estimators.

    What speaks of terms is absent where a row has none of LLMR's: `theory_ratio` counts them, `independent_ratio` gives
    each its own variance, and `variance_ratio`, the measurement, adds the covariances between them; `theory_gap` has
    the way from the first to the last in four pieces.
    """

    estimator: str
    """The row's signature, by which results are told apart."""
    k: int | None
    tail: Tail | None
    objective: str
    unbiased: bool
    variance: Estimate
    """Var[Ĝ_0] over the samples of an input, unbiased."""
    bias: Estimate
    """E[Ĝ_0 - G_0], G_0 being the return of the row's objective; ≥ 0 for a K-step return, none for a placebo."""
    variance_mean_t: Estimate
    """Var[Ĝ_t] over the samples of an input that have an action t, averaged over actions; see `InputStatistics`."""
    bias_mean_t: Estimate
    """E[Ĝ_t - G_t], averaged over the same actions."""
    mse: Estimate
    """Squared error of one sampled Ĝ_0 as an estimate of E[G_0]: variance plus squared bias, both per input."""
    independent: Estimate
    """The part of `variance` that independent terms would have: Σ Var of the terms of Ĝ_0."""
    covariance: Estimate
    """The rest of `variance`, 2 Σ Cov of pairs of terms, which Theorem 1 takes to be zero."""
    variance_ratio: Estimate
    """`variance` over that of LLMR."""
    independent_ratio: Estimate
    """`independent` over that of LLMR."""
    theory_ratio: Estimate
    """Mean number of terms of Ĝ_0 over that of LLMR (Eqs. 24 and 19), from the rollouts' own lengths and tail."""
    same_as_llmr: Estimate
    """Share of all actions whose Ĝ_t has exactly the terms of the full return."""
    theory_gap: TheoryGap | None
    by_position: list[Slice]
    """Var[Ĝ_t] and E[Ĝ_t - G_t] of the actions of a range of t; they depend on the gauge."""
    by_length: list[Slice]
    """Var[Ĝ_0] and E[Ĝ_0 - G_0] among the rollouts of an input whose lengths are in a range."""


HALL = OverInputs()


def summarise(statistics: InputStatistics, gauge: Gauge, over: OverInputs = HALL) -> list[ReturnEstimate]:
    """Averages over inputs, one `ReturnEstimate` for each of `statistics.estimators` in order, LLMR first.

    What is so by definition (LLMR against itself or K = 1) has no interval.
    """
    s = statistics
    averaged = {
        "variance": s.variance,
        "bias": s.bias,
        "variance_mean_t": s.variance_mean_t,
        "bias_mean_t": s.bias_mean_t,
        "mse": s.mse,
        "independent": s.independent,
        "covariance": s.variance - s.independent,
    }
    to_first = {"variance_ratio": s.variance, "independent_ratio": s.independent, "theory_ratio": s.terms}
    estimates = over.means(np.hstack(list(averaged.values())))
    estimates += over.ratios(
        np.hstack(list(to_first.values())), np.hstack([_first(columns) for columns in to_first.values()])
    )
    same = [
        Estimate(share.value, None, None, share.n) if row.unbiased else share
        for row, share in zip(s.estimators, shares(s.same_as_llmr, _first(s.same_as_llmr)), strict=True)
    ]
    # Columns run over quantities, and within a quantity over rows: every row picks its own in the order of the names.
    names = [*averaged, *to_first, "same_as_llmr"]
    columns = [*estimates, *same]
    return [
        ReturnEstimate(
            row.signature(gauge),
            row.k,
            row.tail,
            row.objective.name,
            row.unbiased,
            **dict(zip(names, columns[column :: len(s.estimators)], strict=True)),
            theory_gap=theory_gap(s.terms, [getattr(s, name) for name in PIECES], column),
            by_position=_slices(s.actions_by_position, s.variance_by_position, s.bias_by_position, column, over),
            by_length=_slices(s.rollouts_by_length, s.variance_by_length, s.bias_by_length, column, over),
        )
        for column, row in enumerate(s.estimators)
    ]


def _slices(counts: Array, variance: Array, bias: Array, row: int, over: OverInputs) -> list[Slice]:
    return slices(counts, over.means(variance[:, row]), over.means(bias[:, row]))


def _first(columns: Array) -> Array:
    return np.repeat(columns[:, :1], columns.shape[1], axis=1)
