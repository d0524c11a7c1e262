"""TVD (Wen et al., 2023, f-distill): total variation distance ½ Σ |p - π|, on both models' prefixes."""

from ketchup.methods.base import Method, Part, Sampling, two_writers
from ketchup.methods.options import SamplesPerInput, StudentShare, Temperature, TopK


def build(
    student_share: StudentShare = 0.5,
    samples_per_input: SamplesPerInput = 1,
    temperature: Temperature = 1.0,
    top_k: TopK = 0,
) -> Method:
    """`student_share` weighs the student's prefixes, the rest goes to the teacher's."""
    from ketchup.maths.divergences import total_variation
    from ketchup.methods.divergence_loss import DivergenceLoss

    parts: tuple[Part, ...] = two_writers(DivergenceLoss(total_variation), student_share)
    return Method("tvd", parts, compares=True, sampling=Sampling(samples_per_input, temperature, top_k))
