"""Fine-tuning on the data set's own answers, as teachers are made: minimises -Σ_t log π(a_t | s_t) on references."""

from ketchup.methods.base import Method, Part


def build() -> Method:
    """No options."""
    from ketchup.methods.likelihood import cross_entropy

    return Method("sft", (Part("reference", cross_entropy),))
