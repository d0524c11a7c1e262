"""Policy gradient on any estimator of the return under any baseline: the general form of `llmr` and `ketchup`."""

from ketchup.choices import Clip, Gauge, Truncation
from ketchup.estimators import baseline as baseline_named
from ketchup.estimators import estimator as estimator_named
from ketchup.methods.base import Method, Sampling
from ketchup.methods.credit import Credit
from ketchup.methods.likelihood import policy_gradient


def build(
    estimator: str,
    baseline: str = "none",
    gauge: Gauge = "raw",
    clip: Clip = "return",
    clip_range: float = 100.0,
    truncation: Truncation = "terminal",
    samples_per_input: int = 1,
    temperature: float = 1.0,
    top_k: int = 0,
) -> Method:
    """`estimator` is a row such as `shrink:0.25`; the other options are those of `Credit` and `Sampling`."""
    credit = Credit(estimator_named(estimator), baseline_named(baseline), gauge, clip, clip_range, truncation)
    return policy_gradient("reinforce", credit, Sampling(samples_per_input, temperature, top_k))
