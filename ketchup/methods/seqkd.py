"""SeqKD (Kim and Rush, 2016): minimises -Σ_t log π(a_t | s_t) on the teacher's own outputs.

The paper's simplest competitor, and what it pre-distils students with before reinforcement learning (Section 3).
"""

from ketchup.methods.base import Method, Part


def build() -> Method:
    """No options."""
    from ketchup.methods.likelihood import cross_entropy

    return Method("seqkd", (Part("teacher", cross_entropy),))
