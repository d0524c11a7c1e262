"""Every claim in three worlds: one in which it holds, one in which its reverse does, and one in which nothing is so."""

from collections import Counter

import numpy as np
import pytest

from ketchup_eval.study.claims import CLAIMS, judge_claims
from tests.study.test_claims import content, method, run, student, variance

KS = (1, 2, 4)
SEEDS = 5
TRIALS = 60
ERROR = 0.05
"""Standard error of what is measured, by which all effects are counted."""
Z95 = 1.96
LARGE = 20.0
"""Standard errors of an effect that cannot be missed."""
NAMES = [claim.name for claim in CLAIMS]


class World:
    """A study made up: an effect that a claim foretells has `side` times `LARGE` standard errors, and noise of one."""

    def __init__(self, side, generator):
        self.side, self.generator = side, generator

    def near(self, value, effect=0.0, error=ERROR):
        """A number that is `value`, moved by the effect, as it is measured."""
        found = value + self.side * LARGE * effect * error + error * self.generator.normal()
        return {"value": found, "low": found - Z95 * error, "high": found + Z95 * error, "n": 50}

    def scores(self, effect):
        """A score by seed: seeds differ by 1, and effects by their standard error."""
        return [50.0 + self.side * LARGE * effect + self.generator.normal() for _ in range(SEEDS)]

    def content(self):
        """Students `small` and `large` on a task, from small to large; the small one is farther from the teacher."""
        made = {"variance": self.measured(), "methods": [], "runs": [], "comparisons": [], "judge": []}
        for name in ("small", "large"):
            made["methods"] += self.trained(name)
            made["runs"] += self.curves(name)
        for kind, found in self.judged().items():
            made[kind] += found
        study = content(**made)
        study["plan"]["students"] = ["small", "large"]
        return study

    def measured(self):
        """Variance that falls and bias that grows with K, more of both for the small one; cosines that fall with K."""
        found = []
        for name, kl, far in (("small", 1.0, 1.0), ("large", 0.1, 0.0)):
            rows = (0.0, 0.0, 0.0)
            one = student(
                name, kl, (1.0, 1.0, 1.0), rows, {label: 0.9 - 0.1 * at for at, label in enumerate(GRADIENTS)}
            )
            for at, row in enumerate(one["estimates"]):
                row["variance"] = self.near(5.0, 4 * far - at)
                row["bias"] = self.near(5.0, at * (1 + far))
                row["variance_ratio"] = self.near(1.0, -at)
            found.append(one)
        return variance(*found)

    def trained(self, name):
        """What measured best reaches most: K = 4, then 2 and 8, then LLMR; symmetric divergences more than others."""
        arms = [(label, "ketchup" if options else label, options, effect) for label, options, effect in ARMS]
        return [
            method(
                label,
                algorithm,
                SEEDS,
                options,
                float(self.generator.normal()) if not self.side else effect,
                student=name,
                **{"return": self.scores(effect), "accuracy": self.scores(effect)},
            )
            for label, algorithm, options, effect in arms
        ]

    def curves(self, name):
        """Falls from a peak, in a range of one: those of LLMR are deeper the larger the student, K-step's are not."""
        found = []
        for algorithm, options in (("llmr", None), ("ketchup", {"k": 4})):
            deeper = self.side * 0.2 * (algorithm == "llmr") * (1 if name == "large" else -1)
            for seed in range(SEEDS):
                fall = 0.5 + deeper + 0.02 * self.generator.normal()
                found.append(run(algorithm, name, [0.0, 1.0, 1.0 - fall], options, seed))
        return found

    def judged(self):
        """A win rate above one half of what is better by the metric."""
        rate, gain = self.near(0.5, 1.0), self.near(0.0, self.side)
        row = {"a": "large-ketchup-s0", "criterion": "overall", "effects": {"vote_share": rate}}
        about = {"task": "t", "student": "large"}
        compared = {"method": "ketchup", "score": "accuracy", "difference": gain, "higher_is_better": True}
        judge = {"run": "judge-large-t", **about, "result": {"comparisons": [row]}}
        return {"judge": [judge], "comparisons": [{**about, **compared}]}


ARMS = (
    ("k4", {"k": 4}, 4.0),
    ("k2", {"k": 2}, 3.0),
    ("k8", {"k": 8}, 2.0),
    ("k16", {"k": 16}, 1.5),
    ("llmr", None, 1.0),
    ("js", None, 2.0),
    ("tvd", None, 2.0),
    ("kl", None, 0.0),
    ("seqkd", None, 0.0),
)
"""Methods with the effect on their scores, in `LARGE` standard errors."""
GRADIENTS = (*(f"k-step:{k}|tail:one-step|gauge:raw" for k in (4, 2, 8, 16)), "llmr|gauge:raw")
"""Rows of the gradient from the best, as the methods that step along them."""


def verdicts(side, seed):
    return {one.claim.name: one.verdict for one in judge_claims(World(side, np.random.default_rng(seed)).content())}


@pytest.mark.parametrize(("side", "verdict"), [(1, "supported"), (-1, "contradicted")])
def test_a_world_as_claimed_supports_every_claim_and_its_reverse_contradicts_it(side, verdict):
    for seed in range(3):
        assert verdicts(side, seed) == dict.fromkeys(NAMES, verdict)


def test_where_nothing_is_so_a_claim_is_decided_as_rarely_as_its_level_says():
    """At 5%, 3 of 60 studies; more than 8 would have a chance of 1 in 350 (binomial)."""
    decided = Counter(
        name for seed in range(TRIALS) for name, verdict in verdicts(0, seed).items() if verdict != "undecided"
    )
    assert max(decided.values(), default=0) <= 8, decided
    assert sum(decided.values()) <= 0.05 * TRIALS * len(NAMES) + 15, decided
