"""GKD (Agarwal et al., 2024): the generalised Jensen-Shannon divergence, on-policy or mixed with the teacher's outputs.

The paper flips a coin per batch between the student's own tokens and given ones; here both are weighed in every step,
which has the same expected gradient and less variance.
"""

from functools import partial

from ketchup import checks
from ketchup.methods.base import Method, Sampling, two_writers
from ketchup.methods.options import Beta, SamplesPerInput, StudentShare, Temperature, TopK


def build(
    beta: Beta = 0.5,
    student_share: StudentShare = 1.0,
    samples_per_input: SamplesPerInput = 1,
    temperature: Temperature = 1.0,
    top_k: TopK = 0,
) -> Method:
    """`beta` weighs the teacher in the mixture; `student_share` is that paper's λ, 1 for purely on-policy."""
    checks.share("--beta", beta, ends=False)
    from ketchup.maths.divergences import generalised_jsd
    from ketchup.methods.divergence_loss import DivergenceLoss

    parts = two_writers(DivergenceLoss(partial(generalised_jsd, beta=beta)), student_share)
    return Method("gkd", parts, compares=True, sampling=Sampling(samples_per_input, temperature, top_k))
