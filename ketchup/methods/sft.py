"""Fine-tuning on the data set's own answers, as teachers are made: minimises -Σ_t log π(a_t | s_t) on references."""

from ketchup.methods.base import Method
from ketchup.methods.cross_entropy import cross_entropy

METHOD = Method("sft", tokens="reference", loss=cross_entropy)
