"""The gradients of one student's stored rollouts: weights from the numbers, directions from the student itself."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ketchup.maths.gauges import Gauge
from ketchup.models.language_model import LanguageModel
from ketchup.progress import progress
from ketchup.tasks.base import Example
from ketchup_eval.variance.gradient.of_rollouts import InputRollouts, gradients
from ketchup_eval.variance.gradient.quality import (
    Gradients,
    Recommendation,
    RowQuality,
    qualities,
    recommendation,
)
from ketchup_eval.variance.gradient.rows import Weights
from ketchup_eval.variance.gradient.settings import GradientSettings
from ketchup_eval.variance.rollout_store import PartStore


@dataclass(frozen=True)
class GradientResult:
    """How good an estimate each row is, and which one to take. `sketched` says that vectors are shortened ones."""

    where: str
    inputs: int
    sketched: bool
    rows: list[RowQuality]
    recommendation: Recommendation | None


def measure_gradients(
    student: LanguageModel,
    store: PartStore,
    prompt: Callable[[Example], list[int]],
    settings: GradientSettings,
    gauge: Gauge,
) -> GradientResult:
    """The gradients of all rollouts of `store`, which must be whole.

    Means over the batch that baselines take are means over the rollouts of a block.
    """
    weights = Weights(settings.rows, gauge)
    where = gradients(student, settings.where, settings.seed)
    means, squares = [], []
    total = sum(map(len, store.blocks))
    with progress(f"gradients of {student.name}", total=total, unit="inputs") as bar:
        for index, (block, part) in enumerate(zip(store.blocks, store.read(weights.needs), strict=True)):
            samples = part.mask.shape[1]
            by_input = weights.of(part.numbers).unflatten(1, (len(block), samples))
            written = store.written(index)
            for place, example in enumerate(block):
                rows = slice(place * samples, (place + 1) * samples)
                one = InputRollouts(prompt(example), written.tokens[rows], written.actions[rows])
                mean, square = where.of(one, by_input[:, place])
                means.append(mean.to(torch.float32).numpy())
                squares.append(square.numpy())
                bar.advance()
    found = Gradients(weights, np.stack(means).astype(np.float64), np.stack(squares))
    rated = qualities(found, gauge, settings.batch)
    advice = recommendation(found, rated, gauge, settings.batch)
    return GradientResult(settings.where, total, where.sketched, rated, advice)
