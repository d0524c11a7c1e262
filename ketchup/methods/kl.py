"""KL (Hinton et al., 2015): the forward divergence KL(p ‖ π) on the teacher's own outputs, over the full vocabulary."""

from ketchup.maths.divergences import kl
from ketchup.methods.base import Method, Part
from ketchup.methods.divergence_loss import DivergenceLoss


def build() -> Method:
    """No options."""
    return Method("kl", (Part("teacher", DivergenceLoss(kl)),), compares=True)
