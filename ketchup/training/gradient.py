"""The gradient of one optimiser step, from micro-batches and processes of any number."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from ketchup.methods.base import Method, Trajectory, Writer
from ketchup.models.language_model import LanguageModel
from ketchup.processes import Processes
from ketchup.training.experience import Measures
from ketchup.training.weights import StudentWeights

IDLE = replace(Trajectory.of([0], [0], [False]), weights=torch.zeros(0), teacher_log_probs=torch.zeros(0))
"""A row without actions, which no loss sees: any ids will do."""


def micro_batches(rows: Sequence[Trajectory], batch_size: int, processes: Processes) -> list[Sequence[Trajectory]]:
    """Batches of rows by rising length; where processes go in step, idle ones follow until all have as many."""
    # Sorted, a micro-batch is nearly free of padding; the sum of losses does not see the order.
    by_length = sorted(rows, key=lambda row: len(row.prompt) + len(row.tokens))
    batches: list[Sequence[Trajectory]] = [
        by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)
    ]
    idle = processes.in_step(len(batches)) - len(batches) if processes.in_step else 0
    return [*batches, *[[IDLE]] * idle]


def accumulate(
    method: Method,
    student: StudentWeights,
    teacher: LanguageModel | None,
    trajectories: Mapping[Writer, Sequence[Trajectory]],
    batch_size: int,
    normalization: str,
    processes: Processes,
    measures: Measures,
) -> float | None:
    """Adds up the step's gradient in the student's weights, in every process; returns the step's loss.

    Each part of the method is divided by what the step has of it over all micro-batches and processes: its actions,
    or with `sequence` its trajectories (Algorithm 1's plain sum over time, averaged over rollouts). The loss is `None`
    where there is nothing to learn from, as when every rollout was dropped.
    """
    losses = []
    for part in method.parts:
        rows = trajectories[part.writer]
        count = len(rows) if normalization == "sequence" else sum(row.actions for row in rows)
        # Known before the first backward pass, as gradients of micro-batches are only ever added: a mean of their means
        # would weigh an action of a short batch more than one of a long batch.
        total = float(processes.total(torch.tensor(float(count))))
        summed = torch.zeros((), device=processes.device)
        for batch in micro_batches(rows, batch_size, processes):
            with processes.narrowed():
                found = part.loss(student.model, teacher, batch)
            loss = found.total * (part.weight / total)
            loss.backward()
            summed += loss.detach()
            for name, value in found.sums.items():
                measures.add(name, value, sum(row.actions for row in batch))
        if total:
            losses.append(float(processes.total(summed)))
    student.add_up_gradients(processes)
    return sum(losses) if losses else None
