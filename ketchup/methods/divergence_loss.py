"""A divergence between teacher and student, summed over tokens, without a [R, T, V] tensor of either."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ketchup.methods.base import Loss, Trajectory
from ketchup.methods.batches import action_states
from ketchup.models.language_model import LanguageModel
from ketchup.models.scoring import token_divergences

Divergence = Callable[[Tensor, Tensor], Tensor]
"""From the teacher's and the student's logits [N, V] to one number per token [N], as in `ketchup.maths.divergences`."""


class DivergenceLoss:
    """Sum of D(p(· | s_t), π(· | s_t)) over the actions of the batch; the gradient reaches the student's side only.

    Whoever wrote the tokens, no gradient goes through how they were drawn. Tokens that the environment writes are
    read by both models, and compared nowhere.
    """

    def __init__(self, divergence: Divergence) -> None:
        self.divergence = divergence

    def __call__(self, student: LanguageModel, teacher: LanguageModel | None, batch: Sequence[Trajectory]) -> Loss:
        """The sum, in the unit of the divergence."""
        assert teacher is not None, "a divergence has two sides"
        with torch.no_grad():
            teachers, _ = action_states(teacher, batch)
        students, _ = action_states(student, batch)
        return Loss(token_divergences(self.divergence, teacher, student, teachers, students).sum(), {})
