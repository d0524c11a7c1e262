"""KL (Hinton et al., 2015): the forward divergence KL(p ‖ π) on the teacher's own outputs, over the full vocabulary."""

from ketchup.methods.base import Method, Part


def build() -> Method:
    """No options."""
    from ketchup.maths.divergences import kl
    from ketchup.methods.divergence_loss import DivergenceLoss

    return Method("kl", (Part("teacher", DivergenceLoss(kl)),), compares=True)
