"""The calculator inside sampling: exact probabilities of a tiny chain in which the environment writes results."""

import math
from collections import Counter
from random import Random

import pytest
import torch
from scipy.stats import chisquare

from ketchup.rollouts.calculator import Calculator
from ketchup.rollouts.sampling import sample
from ketchup.rollouts.types import Decoding, Drawn
from tests import tiny

EOS, OPEN, ONE, TWO, PLUS, EQUALS, CLOSE, HASH = 1, 2, 3, 4, 5, 6, 7, 8
LIMIT = 9
NEXT = {
    None: {OPEN: 0.8, HASH: 0.2},
    OPEN: {ONE: 0.9, TWO: 0.1},
    ONE: {PLUS: 0.5, EQUALS: 0.2, CLOSE: 0.2, EOS: 0.1},
    TWO: {PLUS: 0.2, EQUALS: 0.3, CLOSE: 0.3, EOS: 0.2},
    PLUS: {ONE: 0.9, TWO: 0.1},
    EQUALS: {ONE: 0.4, TWO: 0.5, EOS: 0.1},
    CLOSE: {HASH: 0.5, EOS: 0.5},
    HASH: {ONE: 0.5, EOS: 0.5},
}
"""The chance of each next token after the last one: it writes expressions that are often wrong."""


class ChainEngine:
    """An engine whose model is the chain above."""

    name = "chain"
    mends = "always"
    calls = 0

    def sample(self, prompts, prefixes, samples, decoding, seed):
        self.calls += 1
        random = Random(seed)
        given = prefixes or [[] for _ in prompts]
        rows = [self.row(list(prefix), decoding.max_new_tokens, random) for prefix in given for _ in range(samples)]
        return Drawn(rows, [self.log_probs(row, prefix) for row, prefix in self.after(rows, given, samples)])

    def after(self, rows, prefixes, samples):
        return zip(rows, [prefix for prefix in prefixes for _ in range(samples)], strict=True)

    def log_probs(self, row, prefix):
        before = [prefix[-1] if prefix else None, *row[:-1]]
        return [math.log(NEXT[state][token]) for state, token in zip(before, row, strict=True)]

    def row(self, written, limit, random):
        start = len(written)
        while len(written) < limit and (not written or written[-1] != EOS or len(written) == start):
            choices = NEXT[written[-1] if written else None]
            written.append(random.choices(list(choices), list(choices.values()))[0])
        return written[start:]

    def update(self, model):
        raise AssertionError


def calculated(tokens):
    """The tokens the calculator writes after `tokens`, by hand: only sums of ones and twos are open here."""
    if not tokens or tokens[-1] != EQUALS or OPEN not in tokens:
        return []
    inside = tokens[len(tokens) - 1 - tokens[::-1].index(OPEN) + 1 : -1]
    if not inside or any(token not in (ONE, TWO, PLUS) for token in inside):
        return []
    if any((token == PLUS) == (place % 2 == 0) for place, token in enumerate(inside)) or len(inside) % 2 == 0:
        return []
    total = sum(token - 2 for token in inside if token != PLUS)
    return [{1: ONE, 2: TWO}.get(total, 0), CLOSE]


def exact_outputs():
    """Every (tokens, which are actions) with its probability, the environment writing at once."""
    done, stack = Counter(), [((), (), 1.0)]
    while stack:
        tokens, actions, probability = stack.pop()
        if tokens and ((tokens[-1] == EOS and actions[-1]) or len(tokens) == LIMIT):
            done[tokens, actions] += probability
            continue
        forced = calculated(list(tokens)) if actions and actions[-1] else []
        if forced:
            written = tuple(forced[: LIMIT - len(tokens)])
            stack.append((tokens + written, actions + (False,) * len(written), probability))
            continue
        for token, share in NEXT[tokens[-1] if tokens else None].items():
            stack.append(((*tokens, token), (*actions, True), probability * share))
    return done


@pytest.fixture
def model():
    return tiny.language_model("t5", words=tiny.CALCULATOR_WORDS)


def outputs(rollouts):
    for tokens, mask, actions in zip(rollouts.tokens, rollouts.token_mask, rollouts.action_mask, strict=True):
        yield tuple(tokens[mask].tolist()), tuple(actions[mask].tolist())


def without_sums_above_two(exact):
    """`0` stands for results the tiny vocabulary cannot write."""
    return {output: probability for output, probability in exact.items() if 0 not in output[0]}


def test_samples_follow_the_chain_with_the_calculator_in_it(model):
    exact = without_sums_above_two(exact_outputs())
    drawn = Counter(outputs(sample(ChainEngine(), model, ["x"], [[2]], 20_000, Decoding(LIMIT), 3, calculator=True)))
    kept = {output: count for output, count in drawn.items() if 0 not in output[0]}
    assert set(kept) <= set(exact)
    total, mass = sum(kept.values()), sum(exact.values())
    common = [output for output, probability in exact.items() if probability / mass * total >= 8]
    observed = [kept.get(output, 0) for output in common]
    expected = [exact[output] / mass * total for output in common]
    observed.append(total - sum(observed))
    expected.append(total - sum(expected))
    assert len(common) > 40
    assert sum(False in output[1] for output in common) > 10
    assert chisquare(observed, expected).pvalue > 1e-3


def test_each_action_has_the_chance_that_it_was_drawn_with_and_forced_tokens_have_none(model):
    """Rows that were cut, mended and continued among them; the chances are those of the chain."""
    rollouts = sample(ChainEngine(), model, ["x"], [[2]], 500, Decoding(LIMIT), 3, calculator=True)
    assert (rollouts.action_mask != rollouts.token_mask).any()
    for tokens, actions, found in zip(
        rollouts.tokens.tolist(), rollouts.action_mask.tolist(), rollouts.sampler_log_prob.tolist(), strict=True
    ):
        states = [None, *tokens[:-1]]
        for state, token, action, log_prob in zip(states, tokens, actions, found, strict=True):
            assert log_prob == pytest.approx(math.log(NEXT[state][token]) if action else 0)


def test_an_engine_that_tells_of_no_chance_leaves_them_absent(model):
    engine = ChainEngine()
    engine.log_probs = lambda row, prefix: [math.nan] * len(row)
    assert sample(engine, model, ["x"], [[2]], 5, Decoding(LIMIT), 3, calculator=True).sampler_log_prob is None


def test_without_the_calculator_every_token_is_an_action(model):
    engine = ChainEngine()
    rollouts = sample(engine, model, ["x"], [[2]], 200, Decoding(LIMIT), 0, calculator=False)
    assert engine.calls == 1
    assert torch.equal(rollouts.action_mask, rollouts.token_mask)


def test_eos_counts_as_an_action_and_truncation_is_not_an_end(model):
    rollouts = sample(ChainEngine(), model, ["x", "y"], [[2], [3]], 300, Decoding(LIMIT), 0, calculator=True)
    assert rollouts.samples == 300
    for tokens, mask, actions, ended in zip(
        *(vars(rollouts)[name] for name in ("tokens", "token_mask", "action_mask", "ended")), strict=True
    ):
        written = tokens[mask].tolist()
        assert bool(ended) == (written[-1] == EOS)
        assert ended or len(written) == LIMIT
        assert not ended or actions[mask][-1]
        assert not actions[~mask].any()
    assert 0 < rollouts.ended.float().mean() < 1


@pytest.mark.parametrize(
    ("tokens", "actions"),
    [
        ([OPEN, ONE, PLUS, ONE, EQUALS, TWO, CLOSE, EOS], [1, 1, 1, 1, 1, 0, 0, 1]),
        ([OPEN, ONE, PLUS, ONE, EQUALS, ONE, CLOSE, EOS], [1, 1, 1, 1, 1, 1, 1, 1]),  # a reference that is wrong
        ([ONE, PLUS, ONE, EQUALS, TWO, CLOSE], [1, 1, 1, 1, 1, 1]),  # nothing was opened
        ([OPEN, ONE, EQUALS, ONE, CLOSE, OPEN, TWO, EQUALS, TWO, CLOSE], [1, 1, 1, 0, 0, 1, 1, 1, 0, 0]),
    ],
)
def test_the_action_mask_of_a_finished_text(model, tokens, actions):
    assert Calculator(model).action_mask(tokens) == [bool(a) for a in actions]


@pytest.mark.parametrize("style", ["byte", "piece"])
def test_the_calculator_works_with_llama_and_t5_like_tokenizers(style):
    """Digits, brackets and spaces as byte-level BPE (`12>>`) and as T5's pieces (`▁12 ▁]`) write them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    if style == "byte":
        pieces = [*pre_tokenizers.ByteLevel.alphabet(), "<<", ">>"]
        backend = Tokenizer(models.BPE({p: i for i, p in enumerate(sorted(pieces))}, [("<", "<"), (">", ">")]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        text, result = "so <<3*4=", "12>>"
    else:
        pieces = ["<unk>", "▁", "▁so", "▁[", "▁3", "▁*", "▁4", "▁=", "▁12", "▁]"]
        backend = Tokenizer(models.WordLevel({p: i for i, p in enumerate(pieces)}, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        backend.decoder = decoders.Metaspace()
        text, result = "so [ 3 * 4 =", "12 ]"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    model = tiny.language_model("t5")
    object.__setattr__(model, "tokenizer", tokenizer)
    object.__setattr__(model, "vocabulary", len(tokenizer))
    ids = tokenizer(text, add_special_tokens=False).input_ids
    start, forced = Calculator(model).next_forced(ids, 0)
    assert start == len(ids)
    assert tokenizer.decode(ids + forced).replace(" ", "") == (text + result).replace(" ", "")
    assert Calculator(model).action_mask(ids + forced)[-len(forced) :] == [False] * len(forced)
