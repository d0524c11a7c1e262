"""LLMR (Li et al., 2024): policy gradient on the full return of the teacher's Bellman rewards; KETCHUP with K = 1."""

from ketchup.estimators import baseline as baseline_named
from ketchup.estimators import estimator
from ketchup.methods.base import Method, Sampling
from ketchup.methods.credit import Credit
from ketchup.methods.options import BaselineName, Clip, ClipRange, Gauge, SamplesPerInput, Temperature, TopK, Truncation


def build(
    baseline: BaselineName = "none",
    gauge: Gauge = "raw",
    clip: Clip = "return",
    clip_range: ClipRange = 100.0,
    truncation: Truncation = "terminal",
    samples_per_input: SamplesPerInput = 1,
    temperature: Temperature = 1.0,
    top_k: TopK = 0,
) -> Method:
    """The options are those of `Credit` and `Sampling`."""
    credit = Credit(estimator("llmr"), baseline_named(baseline), gauge, clip, clip_range, truncation)
    from ketchup.methods.likelihood import policy_gradient

    return policy_gradient("llmr", credit, Sampling(samples_per_input, temperature, top_k))
