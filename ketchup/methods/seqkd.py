"""SeqKD (Kim and Rush, 2016): minimises -Σ_t log π(a_t | s_t) on the teacher's own outputs.

The paper's simplest competitor, and what it pre-distils students with before reinforcement learning (Section 3).
"""

from ketchup.methods.base import Method, Part
from ketchup.methods.likelihood import cross_entropy


def build() -> Method:
    """No options."""
    return Method("seqkd", (Part("teacher", cross_entropy),))
