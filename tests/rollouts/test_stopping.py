"""Strings that end an output: where rows are cut, and that what stands before is drawn as without."""

import pytest
import torch

from ketchup.rollouts.engines import engine
from ketchup.rollouts.sampling import sample
from ketchup.rollouts.stopping import before_stop
from ketchup.rollouts.types import Decoding
from tests import tiny

A, B = 2, 3
STOP = ("bb", "ca", "cc")


def drawn(model, stop):
    runner = engine("transformers", model)
    return sample(runner, model, ["x"], [[A, B]], 64, Decoding(12), 7, calculator=False, stop=stop)


@pytest.fixture(scope="module", params=["t5", "llama"])
def model(request):
    return tiny.language_model(request.param)


def texts(model, rollouts):
    rows = zip(rollouts.tokens, rollouts.token_mask, strict=True)
    return [model.tokenizer.decode(row[kept], skip_special_tokens=True) for row, kept in rows]


def test_a_row_is_cut_behind_the_first_string_and_has_ended(model):
    """By hand: the text up to and with the string that comes first, of the same draws."""
    whole, cut = drawn(model, ()), drawn(model, STOP)
    found = 0
    for before, after, ended, was in zip(
        texts(model, whole), texts(model, cut), cut.ended.tolist(), whole.ended.tolist(), strict=True
    ):
        places = [before.find(word) + len(word) for word in STOP if word in before]
        assert after == before[: min(places, default=len(before))]
        assert ended == (was or bool(places))
        found += bool(places)
    assert found > 2
    assert torch.equal(cut.action_mask, cut.token_mask)
    assert (cut.tokens[~cut.token_mask] == model.pad_id).all()


def test_without_strings_nothing_changes(model):
    assert torch.equal(drawn(model, ()).tokens, drawn(model, ("zzz",)).tokens)


@pytest.mark.parametrize(("text", "expected"), [("xbb", "x"), ("cabb", ""), ("b ca b", "b "), ("b c", "b c")])
def test_the_string_is_no_part_of_the_text(text, expected):
    assert before_stop(text, STOP) == expected
    assert before_stop(text, ()) == text
