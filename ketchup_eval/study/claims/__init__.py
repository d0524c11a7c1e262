"""The paper's claims, each with the statistic that decides it: fixed before any run, the same for every study.

Where methods with several K, or LLMR with several baselines, stand for "the best of them", that one is taken which
validated best, never the one that tested best. `base.RULE` says how a claim is decided; a claim is a row of `CLAIMS`.
"""

from collections.abc import Sequence
from pathlib import Path

from ketchup.files import atomic_write_json
from ketchup_eval.study.claims.agreement import judge_agrees
from ketchup_eval.study.claims.base import Claim, Judged, claims_json, judged
from ketchup_eval.study.claims.foretold import measuring_predicts
from ketchup_eval.study.claims.measured import bias_grows, nearer_is_better, variance_falls
from ketchup_eval.study.claims.trained import (
    llmr_is_unstable,
    metrics_are_better,
    moderate_k_is_best,
    return_is_higher,
    symmetric_is_better,
)
from ketchup_eval.study.collect import Content

FILE = "claims.json"

CLAIMS = (
    Claim(
        "variance-falls",
        "The variance of the return falls as K grows.",
        "Fig. 2a, Theorem 1",
        "1 minus the variance at K over that at K = 1, Ĝ_0, segment tail, paired over inputs; a place for each K > 1",
        variance_falls,
    ),
    Claim(
        "bias-grows",
        "The bias of the return grows with K.",
        "Fig. 2b",
        "the bias at each K minus that at the K before it, Ĝ_0, segment tail",
        bias_grows,
    ),
    Claim(
        "nearer-is-better",
        "A student nearer to its teacher has less variance and less bias.",
        "Fig. 2",
        "of neighbours in KL, the farther's variance at the smallest K, and bias at the largest, minus the nearer's",
        nearer_is_better,
    ),
    Claim(
        "return-is-higher",
        "K-step returns reach a higher return than LLMR with any of its baselines.",
        "Fig. 1",
        "mean test return (Eq. 10) of the K that validates best, minus that of the LLMR that does; Welch over seeds",
        return_is_higher,
    ),
    Claim(
        "metrics-are-better",
        "K-step returns reach better task metrics than LLMR with any of its baselines.",
        "Table 1",
        "each test metric of the K that validates best against the LLMR that does; Welch over seeds",
        metrics_are_better,
    ),
    Claim(
        "moderate-k-is-best",
        "A moderate K is best: better than K = 1 and than the largest.",
        "Table 1, Section 3.3",
        "each test metric of the K > 1 below the largest that validates best, against K = 1 and the largest K",
        moderate_k_is_best,
    ),
    Claim(
        "symmetric-is-better",
        "Symmetric divergences (JS, TVD) beat asymmetric ones (SeqKD, KL).",
        "Table 1",
        "each test metric of JS and of TVD against SeqKD and KL; Welch over seeds",
        symmetric_is_better,
    ),
    Claim(
        "llmr-is-unstable",
        "LLMR becomes unstable as students grow, K-step returns do not.",
        "Fig. 3",
        "largest fall of the validation return from a peak, over the run's range, LLMR on the plan's last student: "
        "minus that of K-step returns, and minus that on its first student; Welch over seeds",
        llmr_is_unstable,
    ),
    Claim(
        "judge-agrees",
        "The judge's preferences agree with the task metrics.",
        "Table 2",
        "sign of win rate - 50% times sign of the metric's gain over the reference, each criterion and metric",
        judge_agrees,
    ),
    Claim(
        "measuring-predicts-training",
        "What `variance --gradient` measures before training orders what training reaches.",
        "ours, not the paper's",
        "Spearman's rank correlation over methods, of the expected cosine at 256 rollouts and the final score, mean "
        "over students; the interval resamples students, methods and seeds, p exchanges methods",
        measuring_predicts,
    ),
)


def judge_claims(content: Content) -> list[Judged]:
    """Every claim against the content of a study."""
    return [judged(claim, tuple(claim.evidence(content))) for claim in CLAIMS]


def write_claims(found: Sequence[Judged], folder: Path) -> None:
    """Writes `claims.json` into the folder of a study."""
    atomic_write_json(folder / FILE, claims_json(found))
