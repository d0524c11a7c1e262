"""Nothing of a folder's generation_config.json reaches a rollout, and what it asks for is said once."""

import json
import logging

import pytest

from ketchup.models.loading import load
from ketchup.rollouts.engines import engine
from ketchup.rollouts.generation_config import say_what_is_left_out
from ketchup.rollouts.types import Decoding
from tests import tiny
from tests.rollouts.contract import PROMPTS, assert_drawn_from

LIMIT = 3
ASKED = (
    {"min_p": 0.4, "do_sample": True},
    {"typical_p": 0.3, "do_sample": True},
    {"top_h": 0.3, "do_sample": True},
    {"top_k": 2, "top_p": 0.5, "temperature": 0.3, "do_sample": True},
    {"epsilon_cutoff": 0.2, "eta_cutoff": 0.3, "do_sample": True},
    {"forced_eos_token_id": 1},
    {"forced_bos_token_id": 0},
    {"min_new_tokens": 2},
    {"min_length": 9},
    {"suppress_tokens": [2, 3]},
    {"begin_suppress_tokens": [1, 2]},
    {"bad_words_ids": [[2], [3]]},
    {"sequence_bias": [[[2], 5.0]]},
    {"exponential_decay_length_penalty": [0, 3.0]},
    {"repetition_penalty": 3.0, "encoder_repetition_penalty": 2.0},
    {"no_repeat_ngram_size": 1, "encoder_no_repeat_ngram_size": 1},
    {"guidance_scale": 3.0},
    {"watermarking_config": {"bias": 5.0, "greenlist_ratio": 0.3}},
    {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True},
    {"prompt_lookup_num_tokens": 2},
    {"max_time": 1e-6},
    {"stop_strings": ["a"]},
)
"""What generate of transformers 5 would do; half of it is silent."""


def folder(tmp_path, kind, asked):
    tiny.save(kind, tmp_path)
    file = tmp_path / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **asked}))
    return str(tmp_path)


@pytest.mark.parametrize("asked", ASKED, ids="+".join)
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_rollouts_follow_the_models_own_distribution(kind, asked, tmp_path):
    model = load(folder(tmp_path, kind, asked))
    exact = tiny.sequence_probabilities(model, PROMPTS[0], LIMIT)
    rows = engine("transformers", model).sample(PROMPTS[:1], None, 1500, Decoding(LIMIT), seed=1).rows
    assert_drawn_from(rows, exact)
    (row,) = engine("transformers", model).sample(PROMPTS[:1], None, 1, Decoding(LIMIT, temperature=0), seed=1).rows
    for place, token in enumerate(row):
        assert token == int(tiny.next_logits(model, PROMPTS[0], row[:place]).argmax())


@pytest.mark.parametrize("asked", ASKED, ids="+".join)
def test_what_is_asked_for_is_said_once_whichever_engine_draws(asked, tmp_path, caplog):
    model = load(folder(tmp_path, "llama", asked))
    engine("transformers", model)
    engine("ctranslate2", model)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    told = record.getMessage()
    assert str(tmp_path) in told
    assert "no rollout follows" in told
    assert any(name in told for name in asked)


@pytest.mark.parametrize("asked", [{}, {"do_sample": True, "temperature": 1.0, "max_length": 300}, {"top_p": 1.0}])
def test_where_nothing_else_is_asked_for_nothing_is_said(asked, tmp_path, caplog):
    say_what_is_left_out(load(folder(tmp_path, "t5", asked)))
    assert not caplog.records


def test_the_folders_settings_stay_with_the_model(tmp_path):
    model = load(folder(tmp_path / "model", "llama", {"min_p": 0.4, "do_sample": True}))
    engine("transformers", model).sample(PROMPTS[:1], None, 2, Decoding(2), seed=1)
    model.network.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "generation_config.json").read_text())["min_p"] == 0.4
