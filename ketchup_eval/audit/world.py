"""Outputs of a tiny world, and how they are laid out as the tensors of a batch.

Axes: R rows, T columns, V tokens of the vocabulary. Token 0 ends an output. Positions hold the logits that *predict*
the token there, as `ketchup.credit` has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import torch
from torch import Tensor

from ketchup.maths.tabular import EOS, World, random_world

GROUP = 2
"""Samples of a prompt in a batch."""


@dataclass(frozen=True, eq=False)
class Output:
    """One output: its actions [L], what both models say at each [L, V], and the row of each state in the world [L]."""

    prompt: int
    actions: Tensor
    teacher: Tensor
    student: Tensor
    states: Tensor

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def ended(self) -> bool:
        """Whether its last action is the end token; else it was cut."""
        return int(self.actions[-1]) == EOS


@dataclass(frozen=True)
class Layout:
    """What a batch looks like around its actions, which must not matter.

    `left` pads on the left, `extra` is columns of padding more, `prompt` puts prompts of 1, 2, ... tokens before the
    outputs, `tools` a token of the environment after the first action, `filler` are the seed and size of the logits
    where no action is, and `pad` the token there.
    """

    left: bool = False
    extra: int = 0
    prompt: bool = False
    tools: bool = False
    filler: float = 1.0
    pad: int = EOS
    dtype: torch.dtype = torch.float64


@dataclass(frozen=True, eq=False)
class Batch:
    """Tensors of R rows: logits [R, T, V], `ids`, `mask` (True at actions) and `attention` (True at tokens) [R, T].

    `states` [R, T] is the row of each action's state in the world, -1 elsewhere; `groups` [R] says which rows are
    samples of one prompt.
    """

    teacher_logits: Tensor
    student_logits: Tensor
    ids: Tensor
    mask: Tensor
    attention: Tensor
    states: Tensor
    groups: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Tensor, groups: Tensor) -> "Batch":
        """Some rows, in groups of their own."""
        return Batch(
            self.teacher_logits[rows],
            self.student_logits[rows],
            self.ids[rows],
            self.mask[rows],
            self.attention[rows],
            self.states[rows],
            groups,
        )

    def of_actions(self, values: Tensor) -> list[Tensor]:
        """Values [R, T, ...] of the actions of each row."""
        return [row[mask] for row, mask in zip(values, self.mask, strict=True)]


def lay_out(outputs: Sequence[Output], groups: Sequence[int], layout: Layout = Layout()) -> Batch:
    """The batch of some outputs."""
    tools = [1 if layout.tools and len(output) > 1 else 0 for output in outputs]
    before = [output.prompt + 1 if layout.prompt else 0 for output in outputs]
    front = max(before)
    width = front + max(len(output) + tool for output, tool in zip(outputs, tools, strict=True)) + layout.extra
    vocabulary = outputs[0].teacher.shape[1]
    generator = torch.Generator().manual_seed(round(1000 * layout.filler))
    shape = (len(outputs), width, vocabulary)
    filler = (layout.filler * torch.randn(shape[1:], generator=generator, dtype=torch.float64) for _ in "ts")
    teacher, student = (values.repeat(len(outputs), 1, 1) for values in filler)
    ids = torch.full(shape[:2], layout.pad)
    states = torch.full(shape[:2], -1)
    attention = torch.zeros(shape[:2], dtype=torch.bool)
    for row, output in enumerate(outputs):
        length = len(output) + tools[row]
        start = width - length if layout.left else front
        places = torch.arange(length) + start
        attention[row, start - before[row] : start + length] = True
        ids[row, start - before[row] : start] = 1
        if tools[row]:
            ids[row, places[1]] = vocabulary - 1
            places = places[[0, *range(2, length)]]
        teacher[row, places], student[row, places] = output.teacher, output.student
        ids[row, places], states[row, places] = output.actions, output.states
    return Batch(
        teacher.to(layout.dtype),
        student.to(layout.dtype),
        ids,
        states >= 0,
        attention,
        states,
        torch.tensor(list(groups)),
    )


@dataclass(frozen=True, eq=False)
class Prompts:
    """A few prompts, each a `World`; all prompts are as likely. States of all are rows of [S, V]."""

    worlds: tuple[World, ...]

    @cached_property
    def first_state(self) -> list[int]:
        """The row of each prompt's first state, and the number of all."""
        rows = [0]
        for world in self.worlds:
            rows.append(rows[-1] + len(world.states))
        return rows

    @cached_property
    def student(self) -> Tensor:
        """Probabilities of the student in all states, [S, V]."""
        return torch.cat([world.student_logits() for world in self.worlds]).softmax(-1)

    @cached_property
    def batches(self) -> list[tuple[Batch, Tensor]]:
        """All outputs of each prompt as rows of a batch, and how likely each is."""
        found = []
        for prompt in range(len(self.worlds)):
            listed = self.outputs(prompt)
            found.append((lay_out(listed, range(len(listed))), self.probabilities(prompt)))
        return found

    def outputs(self, prompt: int) -> list[Output]:
        """All outputs of a prompt, in the order of `World.rollouts`."""
        world = self.worlds[prompt]
        samples, _ = world.listed()
        teacher, student = world.teacher_logits(), world.student_logits()
        found = []
        for actions, states, mask in zip(samples.actions, samples.states, samples.mask, strict=True):
            at = states[mask]
            found.append(Output(prompt, actions[mask], teacher[at], student[at], at + self.first_state[prompt]))
        return found

    def probabilities(self, prompt: int) -> Tensor:
        """Of the outputs of a prompt, [R]."""
        world = self.worlds[prompt]
        return torch.tensor([world.probability(rollout) for rollout in world.rollouts], dtype=torch.float64)

    def with_teacher(self, change: str) -> "Prompts":
        """The same teacher with other constants of its states: `centred` logits, or `shifted` by random constants."""
        generator = torch.Generator().manual_seed(17)
        return Prompts(tuple(_centred(w) if change == "centred" else w.shifted(generator) for w in self.worlds))

    def apart(self, factor: float) -> "Prompts":
        """A teacher whose logits are so many times as far apart."""

        def stretched(world: World) -> World:
            return replace(world, teacher={s: [factor * x for x in row] for s, row in world.teacher.items()})

        return Prompts(tuple(map(stretched, self.worlds)))


def _centred(world: World) -> World:
    return replace(world, teacher={s: [x - sum(row) / len(row) for x in row] for s, row in world.teacher.items()})


ALONE = ((4, 5), (4, 3), (4, 2))
"""Vocabulary and longest output of each prompt, where a row of a batch does not see the others."""
PAIRS = ((4, 3), (4, 3), (4, 2))
"""The same where all pairs of samples are listed, "many to a batch"."""
ONE_BY_ONE = ((3, 3), (3, 3), (3, 2))
"""The same where each pair is a batch of its own."""


@cache
def prompts_of(sizes: tuple[tuple[int, int], ...]) -> Prompts:
    """Prompts with these vocabularies and longest outputs."""
    return Prompts(tuple(random_world(11 + i, vocabulary, horizon) for i, (vocabulary, horizon) in enumerate(sizes)))


def crafted(length: int, ended: bool, prompt: int = 0, seed: int = 0, vocabulary: int = 4) -> Output:
    """An output that no world needs: no action of it is the teacher's choice, so that its logit can be moved.

    Token 0 is the end, the action elsewhere 1; the teacher prefers the last token, and `lowered` moves the others.
    """
    generator = torch.Generator().manual_seed(100 * seed + 10 * length + ended)
    teacher, student = (torch.randn(length, vocabulary, generator=generator, dtype=torch.float64) for _ in "ts")
    teacher[:, -1] = teacher.amax(1) + 1
    actions = torch.ones(length, dtype=torch.long)
    if ended:
        actions[-1] = EOS
    return Output(prompt, actions, teacher, student, torch.arange(length))


def lowered(output: Output, place: int, nats: float) -> Output:
    """The same output, where the teacher thinks less of one action; its largest logit and logsumexp stay as they were.

    What the action loses another token that is no action gets, in probability.
    """
    teacher = output.teacher.clone()
    action, other = int(output.actions[place]), 2
    before = teacher[place, [action, other]].logsumexp(0)
    teacher[place, action] -= nats
    rest = before.exp() - teacher[place, action].exp()
    teacher[place, other] = rest.log()
    return replace(output, teacher=teacher)


def groups_of(rows: int) -> Tensor:
    """Neighbours are samples of one prompt: 0, 0, 1, 1, ..."""
    return torch.arange(rows) // GROUP
