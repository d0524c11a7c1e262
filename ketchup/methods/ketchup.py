"""KETCHUP, the paper's method: policy gradient on K-step returns of the teacher's Bellman rewards (Algorithm 1)."""

from ketchup import checks
from ketchup.choices import Clip, Gauge, Tail, Truncation
from ketchup.estimators import baseline as baseline_named
from ketchup.estimators import estimator
from ketchup.methods.base import Method, Sampling
from ketchup.methods.credit import Credit
from ketchup.methods.likelihood import policy_gradient


def build(
    k: int,
    baseline: str = "none",
    tail: Tail = "one-step",
    gauge: Gauge = "raw",
    clip: Clip = "return",
    clip_range: float = 100.0,
    truncation: Truncation = "terminal",
    samples_per_input: int = 1,
    temperature: float = 1.0,
    top_k: int = 0,
) -> Method:
    """`k` actions make a step; the other options are those of `Credit` and `Sampling`."""
    checks.whole("--k", k, most=checks.LONGEST)
    credit = Credit(estimator(f"k-step:{k}:{tail}"), baseline_named(baseline), gauge, clip, clip_range, truncation)
    return policy_gradient("ketchup", credit, Sampling(samples_per_input, temperature, top_k))
