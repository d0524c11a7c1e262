"""Policy gradient on any estimator of the return under any baseline: the general form of `llmr` and `ketchup`."""

from ketchup.estimators import baseline as baseline_named
from ketchup.estimators import estimator as estimator_named
from ketchup.methods.base import Method, Sampling
from ketchup.methods.credit import Credit
from ketchup.methods.options import (
    BaselineName,
    Clip,
    ClipRange,
    EstimatorName,
    Gauge,
    SamplesPerInput,
    Temperature,
    TopK,
    Truncation,
)


def build(
    estimator: EstimatorName,
    baseline: BaselineName = "none",
    gauge: Gauge = "raw",
    clip: Clip = "return",
    clip_range: ClipRange = 100.0,
    truncation: Truncation = "terminal",
    samples_per_input: SamplesPerInput = 1,
    temperature: Temperature = 1.0,
    top_k: TopK = 0,
) -> Method:
    """`estimator` is a row such as `shrink:0.25`; the other options are those of `Credit` and `Sampling`."""
    credit = Credit(estimator_named(estimator), baseline_named(baseline), gauge, clip, clip_range, truncation)
    from ketchup.methods.likelihood import policy_gradient

    return policy_gradient("reinforce", credit, Sampling(samples_per_input, temperature, top_k))
