"""Fine-tuning on the data set's own answers, as teachers are made: minimises -Σ_t log π(a_t | s_t) on references."""

from ketchup.methods.base import Method, Part
from ketchup.methods.likelihood import cross_entropy


def build() -> Method:
    """No options."""
    return Method("sft", (Part("reference", cross_entropy),))
