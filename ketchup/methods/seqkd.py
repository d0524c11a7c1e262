"""SeqKD (Kim and Rush, 2016): minimises -Σ_t log π(a_t | s_t) on the teacher's own outputs.

The paper's simplest competitor, and what it pre-distils students with before reinforcement learning (Section 3).
"""

from ketchup.methods.base import Method
from ketchup.methods.cross_entropy import cross_entropy

METHOD = Method("seqkd", tokens="teacher", loss=cross_entropy)
