"""JS (Wen et al., 2023, f-distill): a Jensen-Shannon divergence whose two halves live on two kinds of prefixes.

β · mean KL(π ‖ m) on the student's prefixes + (1 - β) · mean KL(p ‖ m) on the teacher's,   m = β π + (1 - β) p
"""

from functools import partial

from ketchup import checks
from ketchup.methods.base import Method, Part, Sampling
from ketchup.methods.options import Beta, SamplesPerInput, Temperature, TopK


def build(
    beta: Beta = 0.5, samples_per_input: SamplesPerInput = 1, temperature: Temperature = 1.0, top_k: TopK = 0
) -> Method:
    """`beta` is the student's share of mixture and loss; f-distill has 0.85 on XSum, 0.25 in translation."""
    checks.share("--beta", beta, ends=False)
    from ketchup.maths.divergences import student_to_mixture, teacher_to_mixture
    from ketchup.methods.divergence_loss import DivergenceLoss

    parts = (
        Part("student", DivergenceLoss(partial(student_to_mixture, beta=beta)), beta),
        Part("teacher", DivergenceLoss(partial(teacher_to_mixture, beta=beta)), 1 - beta),
    )
    return Method("js", parts, compares=True, sampling=Sampling(samples_per_input, temperature, top_k))
