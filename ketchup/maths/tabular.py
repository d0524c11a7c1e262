"""A world small enough to be known exactly: every rollout is listed with its probability.

A few tokens, a short horizon, one input, and for each state (a prefix without EOS) random logits of a teacher and a
student. All expectations, variances and policy gradients are finite sums over the list. The sampler does not use the
list: it draws token by token from the student, as an engine does.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

EOS = 0
Rollout = tuple[int, ...]


@dataclass(frozen=True)
class Samples:
    """Sampled rollouts [R, T]: teacher values, the mask of actions, and what `gradients` needs; 0 in padding."""

    q: Tensor
    v: Tensor
    mask: Tensor
    actions: Tensor
    states: Tensor
    """The row of each state in `World.states`."""


@dataclass(frozen=True)
class World:
    """`teacher` and `student` map a state to its logits. A rollout ends at EOS or, without one, at the horizon."""

    vocabulary: int
    horizon: int
    teacher: dict[Rollout, list[float]]
    student: dict[Rollout, list[float]]

    @property
    def states(self) -> list[Rollout]:
        """All prefixes without EOS; their order is that of [S, V] tensors."""
        return list(self.teacher)

    @property
    def rollouts(self) -> list[Rollout]:
        """All that can be written: those that end with EOS and those that are cut off at the horizon."""
        ended = [(*state, EOS) for state in self.states]
        cut_off = [(*state, a) for state in self.states if len(state) == self.horizon - 1 for a in self.tokens]
        return ended + cut_off

    @property
    def tokens(self) -> range:
        """The tokens that go on."""
        return range(EOS + 1, self.vocabulary)

    def probability(self, rollout: Rollout) -> float:
        """That the student writes it."""
        return math.prod(softmax(self.student[rollout[:t]])[a] for t, a in enumerate(rollout))

    def values(self, rollout: Rollout) -> tuple[list[float], list[float]]:
        """The lists q and v of a rollout."""
        logits = [self.teacher[rollout[:t]] for t in range(len(rollout))]
        return [row[a] for row, a in zip(logits, rollout, strict=True)], [max(row) for row in logits]

    # Exact moments

    def expectation(self, quantity: Callable[[Rollout], float], t: int = 0) -> float:
        """E of a quantity of a rollout, given that the rollout has an action t."""
        alive = [(self.probability(r), quantity(r)) for r in self.rollouts if len(r) > t]
        return sum(p * x for p, x in alive) / sum(p for p, _ in alive)

    def central_moment(self, quantity: Callable[[Rollout], float], order: int = 2, t: int = 0) -> float:
        """E of a power of its distance to its mean, given that the rollout has an action t; the variance by default."""
        mean = self.expectation(quantity, t)
        return self.expectation(lambda r: (quantity(r) - mean) ** order, t)

    def survival(self, t: int) -> float:
        """The probability that a rollout has an action t."""
        return sum(self.probability(r) for r in self.rollouts if len(r) > t)

    # Exact gradients with respect to the student's logits, [S, V] with S states

    def student_logits(self) -> Tensor:
        """Those of all states, [S, V] in float64."""
        return torch.tensor([self.student[state] for state in self.states], dtype=torch.float64)

    def expected_return(self, student_logits: Tensor) -> Tensor:
        """J = E[G_0] as a differentiable function of the student's logits [S, V] (Eq. 3)."""
        return self._expectation_at(student_logits, self._bellman_rewards)

    def policy_gradient(self, weights: Callable[[Rollout], Sequence[float]]) -> Tensor:
        """E[Σ_t w_t ∇ log π(a_t | s_t)] (Eq. 8 with w = Ĝ); ∇ log softmax is onehot(a) - π at the state's logits."""
        gradient = {state: [0.0] * self.vocabulary for state in self.states}
        for rollout in self.rollouts:
            p = self.probability(rollout)
            for t, (a, w) in enumerate(zip(rollout, weights(rollout), strict=True)):
                for b, pi in enumerate(softmax(self.student[rollout[:t]])):
                    gradient[rollout[:t]][b] += p * w * ((a == b) - pi)
        return torch.tensor(list(gradient.values()), dtype=torch.float64)

    def objective(self, name: str, student_logits: Tensor) -> Tensor:
        """What the objectives of `ketchup.estimators.objectives` say, by their definitions, as a function of logits."""
        log_pi = student_logits.log_softmax(-1)
        log_p = self.teacher_logits().log_softmax(-1)
        if name == "state-kl":  # states as they come: their frequency is a constant
            visits = log_pi.new_tensor([self.visits(state) for state in self.states])
            return -(visits * (log_pi.exp() * (log_pi - log_p)).sum(-1)).sum()
        worth = {
            "expected-return": self._bellman_rewards,
            "log-likelihood": lambda _, state, action: log_p[state, action].sum(),
            "sequence-kl": lambda _, state, action: (log_p - log_pi)[state, action].sum(),
            "none": lambda *_: student_logits.new_zeros(()),
        }
        return self._expectation_at(student_logits, worth[name])

    def _bellman_rewards(self, rollout: Rollout, _state: Tensor, _action: Tensor) -> Tensor:
        """The sum of q_t - v_{t+1}, where v is 0 after the last action (Eq. 2)."""
        q, v = self.values(rollout)
        return torch.tensor(sum(q) - sum(v[1:]), dtype=torch.float64)

    def _expectation_at(self, student_logits: Tensor, worth: Callable[[Rollout, Tensor, Tensor], Tensor]) -> Tensor:
        """E of what a rollout, its states and its actions are worth, under a student with these logits [S, V]."""
        log_pi = student_logits.log_softmax(-1)
        row = {state: i for i, state in enumerate(self.states)}
        total = student_logits.new_zeros(())
        for rollout in self.rollouts:
            state = torch.tensor([row[rollout[:t]] for t in range(len(rollout))])
            action = torch.tensor(rollout)
            total = total + log_pi[state, action].sum().exp() * worth(rollout, state, action)
        return total

    def visits(self, state: Rollout) -> float:
        """The probability that a rollout comes through a state."""
        return math.prod(softmax(self.student[state[:t]])[a] for t, a in enumerate(state))

    def teacher_logits(self) -> Tensor:
        """Those of all states, [S, V] in float64."""
        return torch.tensor([self.teacher[state] for state in self.states], dtype=torch.float64)

    # Other worlds and samples

    def shifted(self, generator: torch.Generator) -> "World":
        """The same teacher in another gauge: a random constant is added to all logits of each state."""
        constants = 10 * torch.randn(len(self.states), generator=generator)
        moved = {s: [x + c for x in self.teacher[s]] for s, c in zip(self.states, constants.tolist(), strict=True)}
        return replace(self, teacher=moved)

    def sample(self, rollouts: int, generator: torch.Generator) -> Samples:
        """Rollouts drawn token by token from the student."""
        row = {state: i for i, state in enumerate(self.states)}
        successor = torch.tensor([[row.get((*s, a), 0) for a in range(self.vocabulary)] for s in self.states])
        teacher = torch.tensor([self.teacher[s] for s in self.states], dtype=torch.float64)
        pi = self.student_logits().softmax(-1)

        state = torch.full((rollouts,), row[()])
        alive = torch.ones(rollouts, dtype=torch.bool)
        columns = []
        for _ in range(self.horizon):
            a = torch.multinomial(pi[state], 1, generator=generator).squeeze(1)
            columns.append((teacher[state, a] * alive, teacher[state].amax(1) * alive, alive, a, state))
            alive = alive & (a != EOS)
            state = successor[state, a]
        q, v, mask, actions, states = (torch.stack(column, dim=1) for column in zip(*columns, strict=True))
        return Samples(q, v, mask, actions, states)

    def listed(self) -> tuple[Samples, Tensor]:
        """All rollouts there are, and the probability of each."""
        row = {state: i for i, state in enumerate(self.states)}
        q, v = (torch.zeros(len(self.rollouts), self.horizon, dtype=torch.float64) for _ in range(2))
        mask, actions, states = (torch.zeros(len(self.rollouts), self.horizon, dtype=torch.long) for _ in range(3))
        for i, rollout in enumerate(self.rollouts):
            for column, values in zip((q, v), self.values(rollout), strict=True):
                column[i, : len(rollout)] = torch.tensor(values)
            mask[i, : len(rollout)] = 1
            actions[i, : len(rollout)] = torch.tensor(rollout)
            states[i, : len(rollout)] = torch.tensor([row[rollout[:t]] for t in range(len(rollout))])
        probabilities = torch.tensor([self.probability(r) for r in self.rollouts], dtype=torch.float64)
        return Samples(q, v, mask.bool(), actions, states), probabilities

    def known(self, samples: Samples) -> dict[str, Tensor]:
        """All numbers that `ketchup.estimators.Numbers` has of the actions, by name, [R, T]; NaN in padding."""
        logits, log_pi = self.teacher_logits(), self.student_logits().log_softmax(-1)
        of_states = {
            "mean": logits.mean(-1),
            "logsumexp": logits.logsumexp(-1),
            "entropy": -(log_pi.exp() * log_pi).sum(-1),
            "collision": log_pi.exp().square().sum(-1),
            "own_value": (log_pi.exp() * logits).sum(-1),
        }
        values = {name: column[samples.states] for name, column in of_states.items()}
        values |= {"q": samples.q, "v": samples.v, "log_prob": log_pi[samples.states, samples.actions]}
        return {name: torch.where(samples.mask, x, math.nan) for name, x in values.items()}

    def gradients(self, samples: Samples, weights: Tensor) -> Tensor:
        """Σ_t w_t ∇ log π(a_t | s_t) of each sampled rollout, [R, S, V]; no state is visited twice by one rollout."""
        pi = self.student_logits().softmax(-1)
        r, t = samples.mask.nonzero(as_tuple=True)
        state, a = samples.states[r, t], samples.actions[r, t]
        result = torch.zeros(len(weights), *pi.shape, dtype=pi.dtype)
        result[r, state] = weights[r, t, None] * (torch.eye(self.vocabulary, dtype=pi.dtype)[a] - pi[state])
        return result


def softmax(logits: Sequence[float]) -> list[float]:
    """Probabilities of a list of logits."""
    weights = [math.exp(x) for x in logits]
    return [w / sum(weights) for w in weights]


def random_world(seed: int, vocabulary: int = 3, horizon: int = 4) -> World:
    """A teacher with logits of a few nats, and a student that learned part of them. EOS is made a little rarer."""
    generator = torch.Generator().manual_seed(seed)
    teacher, student = {}, {}
    for length in range(horizon):
        for state in product(range(EOS + 1, vocabulary), repeat=length):
            logits = 2 * torch.randn(vocabulary, generator=generator)
            noise = torch.randn(vocabulary, generator=generator)
            noise[EOS] -= 1
            teacher[state] = logits.tolist()
            student[state] = (0.5 * logits + noise).tolist()
    return World(vocabulary, horizon, teacher, student)
