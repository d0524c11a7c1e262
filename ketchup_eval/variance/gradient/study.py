"""The gradients of one student's stored rollouts: weights from the numbers, directions from the student itself."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ketchup.choices import Gauge
from ketchup.errors import ModelError
from ketchup.models.language_model import LanguageModel
from ketchup.phases import Phases
from ketchup.processes import Processes
from ketchup.progress import Bar
from ketchup.rollouts.fill import complete
from ketchup.tasks.base import Input
from ketchup_eval.variance.gradient.gradient_settings import GradientSettings
from ketchup_eval.variance.gradient.of_rollouts import Gradients, InputRollouts, check_memory, gradients
from ketchup_eval.variance.gradient.quality import Measured, Recommendation, RowQuality, qualities, recommendation
from ketchup_eval.variance.gradient.rows import GradientRows
from ketchup_eval.variance.gradient.store import GradientStore, InputGradients
from ketchup_eval.variance.rollout_store import PartStore


@dataclass(frozen=True)
class GradientResult:
    """How good an estimate each row is, and which one to take.

    Vectors of `kept` numbers stand for gradients of `length`; they are the gradients where the two are the same.
    """

    where: str
    inputs: int
    length: int
    kept: int
    rows: list[RowQuality]
    recommendation: Recommendation | None

    @property
    def sketched(self) -> bool:
        """Whether vectors are shortened ones."""
        return self.kept < self.length


@dataclass(frozen=True)
class GradientStudy:
    """The gradients of one student: what is asked, where they are taken, and where they are kept."""

    student: LanguageModel
    settings: GradientSettings
    rows: GradientRows
    taken: Gradients
    store: GradientStore

    @classmethod
    def of(
        cls, student: LanguageModel, rollouts: PartStore, folder: Path, settings: GradientSettings, gauge: Gauge
    ) -> "GradientStudy":
        """The gradients of `rollouts`, kept under `folder`; raises what `gradients` and `check_memory` do."""
        rows = GradientRows(settings.rows, gauge)
        taken = gradients(student, settings.where, settings.seed, settings.projection)
        sizes = list(map(len, rollouts.blocks))
        check_memory(taken, sum(sizes), max(sizes), len(rows.measured))
        kind = [settings.seed, taken.kept, gauge]
        return cls(
            student, settings, rows, taken, GradientStore(folder, rollouts, list(rows.measured), settings.where, kind)
        )

    @property
    def missing_inputs(self) -> int:
        """Inputs that lack gradients of a row."""
        return sum(len(self.store.blocks[index]) for index in self.store.missing())

    def fill(self, prompt: Callable[[Input], list[int]], processes: Processes, bar: Bar, phases: Phases) -> None:
        """Takes the gradients that are missing, each process its share; all rollouts must be there."""

        def write(index: int) -> None:
            with phases.phase("gradients"):
                self.store.write(index, self._block(index, prompt))

        complete(self.store, write, processes, bar, phases, f"gradients of {self.student.name}")

    def result(self) -> GradientResult:
        """How good an estimate each row is, once all gradients are there."""
        found = self.store.read()
        measured = Measured(self.rows, found.means, found.squares)
        rated = qualities(measured, self.settings.batch)
        advice = recommendation(measured, rated, self.settings.batch)
        return GradientResult(self.settings.where, measured.n, self.taken.length, self.taken.kept, rated, advice)

    def _block(self, index: int, prompt: Callable[[Input], list[int]]) -> InputGradients:
        """Means over the batch that baselines take are means over the rollouts of the block."""
        names, rollouts = self.store.lacking(index), self.store.rollouts
        part, written = rollouts.read_block(index, self.rows.needs), rollouts.written(index)
        samples = part.mask.shape[1]
        by_input = self.rows.weights(names, part.numbers).unflatten(1, (-1, samples))
        inputs = rollouts.blocks[index]
        means = np.empty((len(names), len(inputs), self.taken.kept), np.float32)
        squares = np.empty((len(names), len(inputs)))
        for place, one in enumerate(inputs):
            mine = slice(place * samples, (place + 1) * samples)
            own = InputRollouts(prompt(one), written.tokens[mine], written.action_mask[mine])
            mean, square = self.taken.of(own, by_input[:, place])
            means[:, place], squares[:, place] = mean.numpy(), square.numpy()
            if not np.isfinite(squares[:, place]).all():
                raise ModelError(
                    f"The gradient of {self.student.name!r} at its outputs for {one.id} is not finite; use another "
                    "checkpoint, or leave that input out."
                )
        return InputGradients(dict(zip(names, means, strict=True)), dict(zip(names, squares, strict=True)))
