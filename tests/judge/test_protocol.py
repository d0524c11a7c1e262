"""The four variants as a design: balanced, keyed by content alone, in an order that shares beginnings."""

from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketchup_eval.judge.effects import A_FIRST, A_IS_A
from ketchup_eval.judge.judge_settings import ReplySettings
from ketchup_eval.judge.protocol import VARIANTS, Pair, query_of, questions, sample_ids

TEMPLATE = "Compare.\n{source}\nText [{first_id}]: {first}\nText [{second_id}]: {second}\nWhich?"
PAIR = Pair("1", "x", "The source.", "by a", "by b")


def test_the_contrasts_are_orthogonal():
    """No effect can pass for another one."""
    columns = [np.ones(4), A_FIRST, A_IS_A, A_FIRST * A_IS_A]
    for left, right in combinations(columns, 2):
        assert left @ right == 0


@pytest.mark.parametrize("variant", range(4))
def test_a_vote_follows_the_label_to_the_system(variant):
    (question,) = [q for q in questions([PAIR], {"overall": TEMPLATE}) if q.variant == variant]
    prompt, (a_first, a_is_a) = question.query.prompt, VARIANTS[variant]
    label_of_a = "A" if a_is_a else "B"
    assert f"Text [{label_of_a}]: by a" in prompt
    assert (prompt.index("by a") < prompt.index("by b")) == a_first
    assert question.vote(label_of_a) == 1
    assert question.vote("B" if a_is_a else "A") == -1
    assert question.vote(None) is None


def keys(**changes):
    query = query_of(PAIR, "overall", TEMPLATE, 0)
    sampling = ReplySettings()
    base = query.key(sampling)
    found = {name: replace(query, **{name: value}).key(sampling) for name, value in changes.items()}
    return base, found


def test_a_key_depends_on_all_that_decides_a_reply():
    base, found = keys(criterion="c", template=TEMPLATE + " ", source="s", first="f", second="g", first_id="B")
    query = query_of(PAIR, "overall", TEMPLATE, 0)
    others = {"model": "m", "temperature": 0.5, "max_tokens": 9, "seed": 3, "logprobs": True, "constrained": True}
    for name, value in others.items():
        found[name] = query.key(replace(ReplySettings(), **{name: value}))
    found["repeat"] = query.key(ReplySettings(), repeat=1)
    assert len({base, *found.values()}) == 1 + len(found)


def test_the_same_question_about_other_systems_has_the_same_key():
    """b against a asks the four questions that a against b asks."""
    swapped = Pair("other id", "y", PAIR.source, PAIR.b, PAIR.a)
    found = [
        {q.query.key(ReplySettings()) for q in questions([pair], {"overall": TEMPLATE})} for pair in (PAIR, swapped)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 4


def shared(left, right):
    return next((n for n, (x, y) in enumerate(zip(left, right, strict=False)) if x != y), min(len(left), len(right)))


def test_neighbours_share_more_than_in_any_other_order_tried():
    pairs = [Pair(item, s, f"Source {item}. " * 9, f"{s} on {item}", "base") for item in "123" for s in "xyz"]
    asked = questions(pairs, {"overall": TEMPLATE, "coherence": "Other. " + TEMPLATE})
    assert [q.criterion for q in asked] == ["overall"] * 36 + ["coherence"] * 36
    assert [q.pair.item for q in asked[:36]] == ["1"] * 12 + ["2"] * 12 + ["3"] * 12
    prompts = [q.query.prompt for q in asked]
    total = sum(shared(left, right) for left, right in pairwise(prompts))
    generator = np.random.default_rng(0)
    for _ in range(20):
        other = [prompts[i] for i in generator.permutation(len(prompts))]
        assert sum(shared(left, right) for left, right in pairwise(other)) < total


def test_identical_outputs_are_not_asked_about():
    same = replace(PAIR, b=" by a\n")
    assert same.identical
    assert Counter(q.pair.item for q in questions([same, replace(PAIR, item="2")], {"overall": TEMPLATE})) == {"2": 4}


@given(st.sets(st.text(min_size=1), min_size=3), st.integers(0, 5), st.data())
def test_samples_nest_and_ignore_the_other_ids(ids, seed, data):
    ids = list(ids)
    n = data.draw(st.integers(1, len(ids)))
    drawn = sample_ids(ids, n, seed)
    assert drawn == sample_ids(ids[::-1], n + 1, seed)[:n]
    without = data.draw(st.sampled_from(ids))
    rest = sample_ids([id for id in ids if id != without], None, seed)
    assert rest == [id for id in sample_ids(ids, None, seed) if id != without]
