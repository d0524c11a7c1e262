"""What every engine must do, checked against the exact probabilities of every output of a tiny model."""

import math
from collections import Counter

import pytest
from scipy.stats import chisquare

from ketchup.rollouts.types import Decoding
from tests import tiny

PROMPTS = [[2, 3, 4, 5, 2, 1], [5, 3], [4, 4, 2]]
LIMIT = 3
DECODINGS = (Decoding(4), Decoding(4, temperature=2.0), Decoding(4, top_k=3), Decoding(4, temperature=0.7, top_k=2))


def assert_drawn_from(rows, exact):
    """Chi-square of the counts, outputs that are expected fewer than five times pooled."""
    counts = Counter(map(tuple, rows))
    assert set(counts) <= set(exact)
    total = len(rows)
    common = [output for output, probability in exact.items() if probability * total >= 5]
    observed = [counts[output] for output in common]
    expected = [exact[output] * total for output in common]
    rest = total - sum(expected)
    if rest >= 5:
        observed.append(total - sum(observed))
        expected.append(rest)
    scale = sum(observed) / sum(expected)
    assert len(common) > 10
    assert chisquare(observed, [value * scale for value in expected]).pvalue > 1e-4


def check_samples_follow_the_distribution(runner, model):
    samples = 3000
    rows = runner.sample(PROMPTS, None, samples, Decoding(LIMIT), seed=1).rows
    for index, prompt in enumerate(PROMPTS):
        exact = tiny.sequence_probabilities(model, prompt, LIMIT)
        assert sum(exact.values()) == pytest.approx(1)
        assert_drawn_from(rows[index * samples : (index + 1) * samples], exact)


def check_samples_of_an_input_come_in_no_order(runner, model):
    """The first of two samples by itself follows the distribution: it is not the likelier one."""
    rows = runner.sample(PROMPTS[:1] * 1000, None, 2, Decoding(LIMIT), seed=6).rows
    exact = tiny.sequence_probabilities(model, PROMPTS[0], LIMIT)
    for place in (0, 1):
        assert_drawn_from(rows[place::2], exact)


def check_temperature_and_top_k(runner, model):
    rows = runner.sample(PROMPTS[:1], None, 4000, Decoding(1, temperature=2.0, top_k=3), seed=2).rows
    best = (tiny.next_logits(model, PROMPTS[0], []) / 2).topk(3)
    counts = Counter(row[0] for row in rows)
    assert set(counts) == set(best.indices.tolist())
    for token, share in zip(best.indices.tolist(), best.values.softmax(-1).tolist(), strict=True):
        assert counts[token] / 4000 == pytest.approx(share, abs=4 * (share * (1 - share) / 4000) ** 0.5)


def check_log_probs_are_those_that_tokens_were_drawn_with(runner, model, decodings=DECODINGS, within=1e-4):
    """Against the exact ones of each state, at each temperature and top k; greedy rows have none."""
    for decoding in decodings:
        drawn = runner.sample(PROMPTS, None, 20, decoding, seed=5)
        assert drawn.log_probs is not None
        for index, (row, log_probs) in enumerate(zip(drawn.rows, drawn.log_probs, strict=True)):
            for place, (token, log_prob) in enumerate(zip(row, log_probs, strict=True)):
                exact = tiny.next_logits(model, PROMPTS[index // 20], row[:place]) / decoding.temperature
                if decoding.top_k:
                    exact = exact.masked_fill(exact < exact.topk(decoding.top_k).values[-1], -math.inf)
                assert log_prob == pytest.approx(float(exact.log_softmax(-1)[token]), abs=within)
    assert runner.sample(PROMPTS, None, 2, Decoding(4, temperature=0), seed=5).log_probs is None


def check_prefixes_are_continued(runner, model):
    prefixes = [[3], [], [2, 5]]
    samples = 2000
    rows = runner.sample(PROMPTS, prefixes, samples, Decoding(LIMIT), seed=3).rows
    for index, (prompt, prefix) in enumerate(zip(PROMPTS, prefixes, strict=True)):
        mine = rows[index * samples : (index + 1) * samples]
        assert max(len(row) for row in mine) == LIMIT - len(prefix)
        counts = Counter(row[0] for row in mine)
        for token, share in enumerate(tiny.next_logits(model, prompt, prefix).softmax(-1).tolist()):
            assert counts[token] / samples == pytest.approx(
                share, abs=4 * (share * (1 - share) / samples) ** 0.5 + 1e-3
            )


def check_rows_end_with_eos_or_at_the_limit(runner, model):
    rows = runner.sample(PROMPTS, None, 300, Decoding(4), seed=4).rows
    assert {len(row) for row in rows if row[-1] not in model.eos_ids} == {4}
    assert min(len(row) for row in rows) == 1
    assert not any(index in model.eos_ids for row in rows for index in row[:-1])
    assert {row[-1] for row in rows} >= set(model.eos_ids)


def check_greedy_takes_the_likeliest_token(runner, model):
    rows = runner.sample(PROMPTS, None, 1, Decoding(5, temperature=0), seed=0).rows
    for prompt, row in zip(PROMPTS, rows, strict=True):
        for place, token in enumerate(row):
            assert token == int(tiny.next_logits(model, prompt, row[:place]).argmax())
    for decoding in (Decoding(5, temperature=0), Decoding(5, top_k=1)):
        copies = runner.sample(PROMPTS, None, 3, decoding, seed=1).rows
        assert copies[::3] == copies[1::3] == copies[2::3] == rows
        copies[0].append(0)
        assert copies[1] == rows[0], "copies are rows of their own"


def check_seeds_decide_the_rows(runner):
    first, again, other = (runner.sample(PROMPTS, None, 50, Decoding(6), seed=seed) for seed in (7, 7, 8))
    assert first == again
    assert first != other
