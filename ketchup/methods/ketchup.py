"""KETCHUP, the paper's method: policy gradient on K-step returns of the teacher's Bellman rewards (Algorithm 1)."""

from typing import Annotated

from ketchup import checks
from ketchup.estimators import baseline as baseline_named
from ketchup.estimators import estimator
from ketchup.methods.base import Method, Sampling
from ketchup.methods.credit import Credit
from ketchup.methods.options import (
    BaselineName,
    Clip,
    ClipRange,
    Gauge,
    SamplesPerInput,
    Tail,
    Temperature,
    TopK,
    Truncation,
)


def build(
    k: Annotated[int, "actions in a step"],
    baseline: BaselineName = "none",
    tail: Tail = "one-step",
    gauge: Gauge = "raw",
    clip: Clip = "return",
    clip_range: ClipRange = 100.0,
    truncation: Truncation = "terminal",
    samples_per_input: SamplesPerInput = 1,
    temperature: Temperature = 1.0,
    top_k: TopK = 0,
) -> Method:
    """`k` actions make a step; the other options are those of `Credit` and `Sampling`."""
    checks.whole("--k", k, most=checks.LONGEST)
    credit = Credit(estimator(f"k-step:{k}:{tail}"), baseline_named(baseline), gauge, clip, clip_range, truncation)
    from ketchup.methods.likelihood import policy_gradient

    return policy_gradient("ketchup", credit, Sampling(samples_per_input, temperature, top_k))
