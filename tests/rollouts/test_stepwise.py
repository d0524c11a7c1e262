"""Rows written token by token: drawn from the model, with the calculator's tokens where it must write them."""

import math

import pytest
import torch

from ketchup.rollouts import sampling, stepwise
from ketchup.rollouts.calculator import Calculator, Written
from ketchup.rollouts.transformers_engine import TransformersEngine
from ketchup.rollouts.types import Decoding, Drawn
from tests import tiny
from tests.rollouts import contract

SEED = 3
"""The tiny models of this seed write `<<1=` and the like in some 3% of rows."""


class Stepwise:
    """As an engine, for tasks without calculator."""

    def __init__(self, model):
        self.model = model

    def sample(self, prompts, prefixes, samples, decoding, seed):
        assert prefixes is None
        rows = stepwise.write(self.model, prompts, samples, decoding, seed, Calculator(self.model))
        assert all(all(row.action_mask) for row in rows)
        told = None if decoding.greedy else [row.log_probs for row in rows]  # not a number for greedy rows
        assert told or all(math.isnan(one) for row in rows for one in row.log_probs)
        return Drawn([row.tokens for row in rows], told)


@pytest.fixture(params=tiny.KINDS)
def model(request):
    return tiny.language_model(request.param)


@pytest.mark.parametrize(
    "check",
    [
        contract.check_samples_follow_the_distribution,
        contract.check_temperature_and_top_k,
        contract.check_log_probs_are_those_that_tokens_were_drawn_with,
        contract.check_rows_end_with_eos_or_at_the_limit,
        contract.check_greedy_takes_the_likeliest_token,
    ],
    ids=lambda check: check.__name__,
)
def test_it_draws_as_every_engine_must(model, check):
    check(Stepwise(model), model)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_the_calculator_writes_where_it_must_and_nowhere_else(kind, monkeypatch):
    """Mending, whose distribution is enumerated in `test_sampling`, finds nothing to mend."""
    model = tiny.language_model(kind, SEED, words=tiny.CALCULATOR_WORDS)
    machine = Calculator(model)
    monkeypatch.setattr(stepwise, "CACHE_BYTES", 100_000)  # several batches
    rows = stepwise.write(model, [[2, 3], [4], [5, 4, 3]], 1000, Decoding(9), 0, machine)
    forced = [row for row in rows if False in row.action_mask]
    assert len(forced) > 50
    for row in rows:
        read = Written.drawn(list(row.tokens), list(row.log_probs))
        assert not sampling._cut(machine, read, 9)
        assert (read.tokens, read.action_mask) == (row.tokens, row.action_mask)
        assert len(row.tokens) == 9 or (row.tokens[-1] in model.eos_ids and row.action_mask[-1])


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_actions_after_the_calculator_come_from_the_model(kind):
    """Σ (log π(a) + H) over actions after forced tokens, each of mean 0 given its state, in units of its deviation."""
    model = tiny.language_model(kind, SEED, words=tiny.CALCULATOR_WORDS)
    prompt = [2, 3]
    rows = stepwise.write(model, [prompt], 6000, Decoding(9), 1, Calculator(model))
    total = variance = count = 0.0
    for row in rows:
        for place, action in enumerate(row.action_mask):
            if action and False in row.action_mask[:place]:
                log_pi = tiny.next_logits(model, prompt, row.tokens[:place]).log_softmax(-1)
                entropy = -(log_pi.exp() * log_pi).sum()
                total += float(log_pi[row.tokens[place]] + entropy)
                variance += float((log_pi.exp() * log_pi**2).sum() - entropy**2)
                count += 1
    assert count > 100
    assert abs(total / variance**0.5) < 4


def test_the_same_seed_gives_the_same_rows_and_another_does_not(model):
    machine = Calculator(model)
    first, again, other = (stepwise.write(model, [[2], [3, 4]], 20, Decoding(6), seed, machine) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("mends", "disagrees", "by_steps"),
    [
        ("never", False, True),
        ("never", True, True),
        ("always", False, False),
        ("few", False, False),
        ("few", True, True),
    ],
)
def test_the_engine_says_whether_rows_are_mended(monkeypatch, mends, disagrees, by_steps):
    model = tiny.language_model("t5", SEED, words=tiny.CALCULATOR_WORDS)
    runner = TransformersEngine(model)
    runner.mends = mends
    written = []
    monkeypatch.setattr(stepwise, "write", lambda *a: written.append(a) or [Written.drawn([1], [0.0])] * 4)
    monkeypatch.setattr(sampling, "_mended", lambda *a: [Written.drawn([1], [0.0])] * 4)
    monkeypatch.setattr(sampling, "_cut", lambda *_: disagrees)
    sampling.sample(runner, model, ["x", "y"], [[2], [3]], 2, Decoding(4), 0, calculator=True)
    assert bool(written) == by_steps


def test_weights_of_the_moment_are_used():
    """After an update, which the engine takes over, rows come from the new weights."""
    model = tiny.language_model("t5", words=tiny.CALCULATOR_WORDS)
    runner = TransformersEngine(model)
    greedy = Decoding(6, temperature=0)
    before = sampling.sample(runner, model, ["x"], [[2, 3]], 1, greedy, 0, calculator=True)
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.mul_(-1)
    runner.update(model)
    after = sampling.sample(runner, model, ["x"], [[2, 3]], 1, greedy, 0, calculator=True)
    assert before.tokens.tolist() != after.tokens.tolist()
