"""What a step learns from: trajectories that were given, and fresh rollouts of the student as it is now."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ketchup.choices import EngineName
from ketchup.methods.base import Method, Sampling, Trajectory, Writer
from ketchup.methods.credit import Weights, assign
from ketchup.models.language_model import LanguageModel
from ketchup.models.prompts import output_text
from ketchup.models.scoring import StudentValues, TeacherValues, full_returns
from ketchup.models.teacher import Teacher, score, score_teacher
from ketchup.phases import Phases
from ketchup.processes import Processes
from ketchup.rollouts import engines
from ketchup.rollouts.sampling import sample
from ketchup.rollouts.stopping import before_stop
from ketchup.rollouts.types import Decoding, Engine, Rollouts
from ketchup.tasks.base import Task
from ketchup.training.weights import StudentWeights


@dataclass(frozen=True)
class Inputs:
    """The inputs of a split as ids: prompts, and the trajectories of writers other than the student."""

    ids: Sequence[str]
    prompts: Sequence[list[int]]
    given: Mapping[Writer, Sequence[Trajectory]]

    def __len__(self) -> int:
        return len(self.ids)

    def blocks(self, size: int) -> list["Inputs"]:
        """The inputs in their order, `size` in each; the last may have fewer."""
        places = range(len(self))
        return [self.at(places[start : start + size]) for start in places[::size]]

    def at(self, indices: Sequence[int]) -> "Inputs":
        """The inputs at these places."""
        return Inputs(
            [self.ids[index] for index in indices],
            [self.prompts[index] for index in indices],
            {writer: [rows[index] for index in indices] for writer, rows in self.given.items()},
        )


class Measures:
    """Sums and counts of what is measured on the way, so that a mean goes over all processes and not over means."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}

    def add(self, name: str, total: Tensor | float, count: Tensor | float) -> None:
        """Counts `count` more things whose sum is `total`."""
        sums = self._sums.setdefault(name, [0.0, 0.0])
        sums[0] += float(total)
        sums[1] += float(count)

    def take(self, other: "Measures") -> None:
        """Counts all that `other` has counted."""
        for name, (total, count) in other._sums.items():
            self.add(name, total, count)

    def means(self, processes: Processes | None = None) -> dict[str, float]:
        """The mean of each quantity, over all `processes` if given; one that nothing was counted of is left out."""
        sums = self._sums if processes is None else self._over_all(processes)
        return {name: above / below for name, (above, below) in sums.items() if below}

    def _over_all(self, processes: Processes) -> dict[str, list[float]]:
        # A process of which every rollout was dropped has measured less; all must add up the same list.
        names = processes.union(self._sums)
        if not names:
            return {}
        own = torch.tensor([self._sums.get(name, [0.0, 0.0]) for name in names], dtype=torch.float64)
        return dict(zip(names, processes.total(own).tolist(), strict=True))


class Student:
    """The student at work: draws rollouts with the engine, which is handed the weights anew whenever they change."""

    def __init__(
        self,
        weights: StudentWeights,
        task: Task,
        engine_name: EngineName,
        phases: Phases,
        told: Callable[[str], None] = lambda _: None,
        *,
        corrected: bool = False,
    ) -> None:
        """`told` gets to know which engine draws, and why that one, when the first is made.

        With `corrected`, rollouts will count as their importance ratios.
        """
        self.weights = weights
        self.task = task
        self.engine_name = engine_name
        self.phases = phases
        self.corrected = corrected
        self._told = told
        self._engine: Engine | None = None
        self._stale = True

    @property
    def model(self) -> LanguageModel:
        """What passes go through."""
        return self.weights.model

    def weights_changed(self) -> None:
        """To be called after each update."""
        self._stale = True

    def draw(self, inputs: Inputs, sampling: Sampling, seed: int) -> Rollouts:
        """Rollouts of all inputs in one batch, from the weights of this moment."""
        with self.phases.phase("sample"):
            engine = self._current()
            decoding = Decoding(self.task.max_new_tokens, sampling.temperature, sampling.top_k)
            if self.corrected:
                engines.check_tells(engine, decoding)
            return self._sampled(engine, inputs, sampling.samples_per_input, decoding, seed)

    def write(self, inputs: Inputs) -> list[str]:
        """The greedy output for each input as text, as `ketchup evaluate` has it."""
        with self.phases.phase("sample"):
            greedy = Decoding(self.task.max_new_tokens, temperature=0)
            rollouts = self._sampled(self._current(), inputs, 1, greedy, 0)
        rows = zip(rollouts.tokens, rollouts.token_mask, strict=True)
        texts = [output_text(self.model, tokens[written].tolist()) for tokens, written in rows]
        return [before_stop(text, self.task.stop) for text in texts]

    def _current(self) -> Engine:
        """The engine, with the weights of this moment."""
        # Made when something is first drawn: methods that only read texts need none, and vLLM takes a GPU's memory.
        if self._engine is None:
            found = engines.choose(self.engine_name, self.weights.ordinary())
            self._engine = found.engine
            self._told(str(found))
        elif self._stale:
            self._engine.update(self.weights.ordinary())
        self._stale = False
        return self._engine

    def _sampled(self, engine: Engine, inputs: Inputs, samples: int, decoding: Decoding, seed: int) -> Rollouts:
        return sample(
            engine,
            self.model,
            inputs.ids,
            inputs.prompts,
            samples,
            decoding,
            seed,
            calculator=self.task.calculator,
            stop=self.task.stop,
        )


def step_trajectories(
    method: Method,
    student: Student,
    teacher: Teacher | None,
    inputs: Inputs,
    seed: int,
    processes: Processes,
    measures: Measures,
) -> dict[Writer, Sequence[Trajectory]]:
    """The trajectories of each writer that the method learns from, for this process's inputs.

    Rollouts are drawn for all micro-batches of the step at once, which is still on-policy, as the weights do not
    change between them. With `credit` they are scored by the teacher and every action gets its weight, baselines being
    means over the whole step.
    """
    found: dict[Writer, Sequence[Trajectory]] = {w: inputs.given[w] for w in method.writers if w != "student"}
    if method.sampling is None or "student" not in method.writers:
        return found
    rollouts = student.draw(inputs, method.sampling, seed)
    _measure_rollouts(rollouts, measures)
    if method.credit is None:
        found["student"] = as_trajectories(inputs.prompts, rollouts)
        return found
    assert teacher is not None
    with student.phases.phase("teacher"):
        values, own = _scored(method, teacher, student.model, inputs.prompts, rollouts, processes)
    weights = assign(
        method.credit, values, own, rollouts.action_mask, rollouts.ended, rollouts.samples, processes.total
    )
    _measure_credit(values, weights, rollouts, measures)
    most = _most_ratio(rollouts, processes) if student.corrected else None
    rows = as_trajectories(inputs.prompts, rollouts, weights, values, most)
    # Their weights are 0 already, but as rows they would still count in what the loss is divided by.
    dropped = method.credit.truncation == "drop"
    found["student"] = [row for row, kept in zip(rows, rollouts.ended.tolist(), strict=True) if kept or not dropped]
    return found


def as_trajectories(
    prompts: Sequence[list[int]],
    rollouts: Rollouts,
    weights: Weights | None = None,
    values: TeacherValues | None = None,
    most_ratio: float | None = None,
) -> list[Trajectory]:
    """Each rollout with its prompt and, for a policy gradient, its actions' weights and what they were drawn with."""
    rows = []
    samples, lengths = rollouts.samples, rollouts.token_mask.sum(1).tolist()
    log_p = None if values is None else values.q - values.logsumexp
    for index, length in enumerate(lengths):
        mask = rollouts.action_mask[index, :length]
        row = Trajectory(prompts[index // samples], rollouts.tokens[index, :length], mask)
        if weights is not None and log_p is not None:
            drawn = rollouts.sampler_log_prob
            # Weights come with the actions of a row moved to the left, the other two where the tokens are.
            row = replace(
                row,
                weights=weights.weights[index, : row.actions],
                teacher_log_probs=log_p[index, :length][mask],
                sampler_log_probs=None if drawn is None else drawn[index, :length][mask],
                most_ratio=most_ratio,
            )
        rows.append(row)
    return rows


def _most_ratio(rollouts: Rollouts, processes: Processes) -> float:
    """√n, n being the rollouts of the step in all processes: what a ratio is held at."""
    return math.sqrt(float(processes.total(torch.tensor(float(len(rollouts.tokens))))))


def _scored(
    method: Method,
    teacher: Teacher,
    student: LanguageModel,
    prompts: Sequence[list[int]],
    rollouts: Rollouts,
    processes: Processes,
) -> tuple[TeacherValues, StudentValues | None]:
    assert method.credit is not None
    assert method.sampling is not None
    if method.credit.needs_student:
        drawn = (method.sampling.temperature, method.sampling.top_k)
        return score(teacher, student, prompts, rollouts.tokens, rollouts.action_mask, processes.in_step, *drawn)
    return score_teacher(teacher, prompts, rollouts.tokens, rollouts.action_mask, processes.in_step), None


def _measure_rollouts(rollouts: Rollouts, measures: Measures) -> None:
    rows = len(rollouts.tokens)
    measures.add("length", rollouts.action_mask.sum(), rows)
    measures.add("ended", rollouts.ended.sum(), rows)


def _measure_credit(values: TeacherValues, weights: Weights, rollouts: Rollouts, measures: Measures) -> None:
    actions = weights.mask.sum()
    add_returns(values, rollouts, measures)
    measures.add("return_estimate", weights.returns[weights.mask].sum(), actions)
    measures.add("clipped", weights.clipped.sum(), actions)


def add_returns(values: TeacherValues, rollouts: Rollouts, measures: Measures) -> None:
    """Counts the full return (Eq. 10) of each rollout that has actions."""
    returns = full_returns(values, rollouts.action_mask)
    measures.add("return", returns.nansum(), returns.isfinite().sum())
