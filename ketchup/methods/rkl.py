"""Reverse KL, on-policy: KL(π ‖ p) over the full vocabulary on the student's own rollouts (on-policy distillation).

As in GKD, no gradient goes through the drawing of the tokens: every state is distilled where the student led itself.
"""

from ketchup.methods.base import Method, Part, Sampling
from ketchup.methods.options import SamplesPerInput, Temperature, TopK


def build(samples_per_input: SamplesPerInput = 1, temperature: Temperature = 1.0, top_k: TopK = 0) -> Method:
    """Options say how rollouts are drawn."""
    from ketchup.maths.divergences import reverse_kl
    from ketchup.methods.divergence_loss import DivergenceLoss

    sampling = Sampling(samples_per_input, temperature, top_k)
    return Method("rkl", (Part("student", DivergenceLoss(reverse_kl)),), compares=True, sampling=sampling)
