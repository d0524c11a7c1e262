"""Random numbers of ragged batches, as lists and as the tensors that estimators take."""

import math
import random

import torch

from ketchup.estimators import ESTIMATORS, NUMBERS, Numbers

TEXTS = [text for row in ESTIMATORS.values() for text in row.examples]


def batch(seed, inputs=3, samples=4, longest=6):
    """A batch as lists: `inputs` of `samples` rollouts; the numbers of a state belong to no real softmax."""
    draw = random.Random(seed)
    return [[_rollout(draw, draw.randint(1, longest)) for _ in range(samples)] for _ in range(inputs)]


def _rollout(draw, length):
    q = [draw.gauss(0, 3) for _ in range(length)]
    v = [x + draw.expovariate(0.5) for x in q]
    log_prob = [-draw.expovariate(1) for _ in range(length)]
    return {
        "q": q,
        "v": v,
        "mean": [draw.gauss(-5, 1) for _ in range(length)],
        "logsumexp": [y + draw.expovariate(1) for y in v],
        "log_prob": log_prob,
        "entropy": [draw.expovariate(1) for _ in range(length)],
        "collision": [draw.uniform(math.exp(2 * x), 1) for x in log_prob],
        "own_value": [x - draw.expovariate(0.3) for x in v],
    }


def numbers(rows, extra=0, **changed):
    """The tensors of a batch, with NaN and `extra` more columns of it in padding."""
    rollouts = [rollout for samples in rows for rollout in samples]
    width = max(len(rollout["q"]) for rollout in rollouts) + extra
    columns = {
        name: torch.tensor([row[name] + [math.nan] * (width - len(row[name])) for row in rollouts], dtype=torch.float64)
        for name in NUMBERS
    }
    mask = torch.tensor([[t < len(rollout["q"]) for t in range(width)] for rollout in rollouts])
    return Numbers(mask, len(rows[0]), **{**columns, **changed})


def rows_of(values, mask):
    """What stands at actions, as a flat list; and the promise that padding is exactly 0."""
    assert (values[~mask] == 0).all()
    return values[mask].tolist()


def flat(nested):
    return [x for rows in nested for row in rows for x in row]
