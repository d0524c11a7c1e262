"""vLLM does what every engine must, also after an update of the weights, and leaves the process as it was.

Runs where vLLM is installed beside ketchup.
"""

import gc
import math
import random
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from ketchup.errors import ModelError, UsageError
from ketchup.files import read_jsonl
from ketchup.rollouts.engines import engine
from ketchup.rollouts.types import Decoding
from ketchup.rollouts.vllm_engine import VllmEngine
from tests import tiny
from tests.commands import ketchup, write_data
from tests.rollouts import contract
from tests.rollouts.contract import PROMPTS, assert_drawn_from

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed in this environment"),
    pytest.mark.filterwarnings(
        "ignore:::vllm.*", "ignore::DeprecationWarning:torch.*", "ignore:Unclosed context <zmq:ResourceWarning"
    ),
]
LONG_PROMPT = random.Random(0).choices(range(2, 6), k=300)
"""More than a block of the cache holds, which is what rows can share: 16 tokens on a GPU, 128 on a CPU."""


@pytest.fixture(scope="module")
def model():
    return tiny.language_model(tiny.WIDE, padding_rows=3)


@pytest.fixture(scope="module")
def runner(model):
    return engine("vllm", model)


def test_samples_follow_the_students_distribution_with_prompts_of_different_length(runner, model):
    contract.check_samples_follow_the_distribution(runner, model)


def test_temperature_and_top_k_shape_the_distribution(runner, model):
    contract.check_temperature_and_top_k(runner, model)


def test_each_token_comes_with_the_log_probability_it_was_drawn_with(runner, model):
    contract.check_log_probs_are_those_that_tokens_were_drawn_with(runner, model)


def test_prefixes_of_different_length_are_continued_from_their_own_state(runner, model):
    contract.check_prefixes_are_continued(runner, model)


def test_rows_end_with_eos_or_at_the_limit(runner, model):
    contract.check_rows_end_with_eos_or_at_the_limit(runner, model)


def test_greedy_takes_the_likeliest_token(runner, model):
    contract.check_greedy_takes_the_likeliest_token(runner, model)


def test_the_same_seed_gives_the_same_rows_and_another_does_not(runner):
    contract.check_seeds_decide_the_rows(runner)


def test_inputs_alike_get_rows_of_their_own(runner):
    rows = runner.sample([PROMPTS[0]] * 2, None, 50, Decoding(6), seed=7).rows
    assert rows[:50] != rows[50:]


def test_after_an_update_samples_follow_the_new_weights(runner, model):
    prompts = [LONG_PROMPT, PROMPTS[0]]
    runner.sample(prompts, None, 2, Decoding(2), seed=5)  # leaves the long prompt in the cache
    model.network.load_state_dict(tiny.network(tiny.WIDE, model.vocabulary + 3, seed=5).state_dict())
    runner.update(model)
    rows = runner.sample(prompts, None, 3000, Decoding(2), seed=5).rows
    for index, prompt in enumerate(prompts):
        assert_drawn_from(rows[index * 3000 : (index + 1) * 3000], tiny.sequence_probabilities(model, prompt, 2))


def test_temperatures_that_vllm_does_not_take_are_refused(runner):
    with pytest.raises(UsageError, match="--engine transformers"):
        runner.sample(PROMPTS, None, 1, Decoding(2, temperature=3), seed=0)


def test_texts_longer_than_there_is_room_for_are_refused(runner):
    with pytest.raises(ModelError, match="600 tokens, and vLLM has room for 512"):
        runner.sample([LONG_PROMPT], None, 1, Decoding(300), seed=0)


def test_models_that_vllm_cannot_run_are_refused():
    with pytest.raises(UsageError, match=r"cannot run 'tiny-t5-0' \(T5ForConditionalGeneration\)"):
        engine("vllm", tiny.language_model("t5"))


def test_a_model_that_cannot_be_parted_is_refused(model):
    with pytest.raises(UsageError, match=r"over 3 GPUs: it has 2 attention heads, 1 of keys .*vllm:tpN with N = 2\."):
        engine("vllm:tp3", model)


def test_rows_do_not_depend_on_what_was_drawn_before(runner, monkeypatch):
    """As far as vLLM goes: it computes all of a prompt again, where it could take most of it from its cache."""
    counted = []
    real = runner._llm.generate

    def counting(*arguments, **options):
        results = real(*arguments, **options)
        counted.append([result.num_cached_tokens for result in results])
        return results

    monkeypatch.setattr(runner._llm, "generate", counting)
    for _ in range(2):
        runner.sample([LONG_PROMPT], None, 1, Decoding(2), seed=5)
    runner.sample([LONG_PROMPT], [[2]], 1, Decoding(2), seed=5)
    assert counted[0] == counted[1] == [0]
    assert counted[2][0] >= 128  # rows that are gone on with do without


# A process has one vLLM at a time, so that these, which make their own, come last.


def test_the_first_of_several_ends_ends_a_row():
    model = tiny.language_model(tiny.WIDE, eos_ids=(1, 3))
    runner = engine("vllm", model)
    contract.check_rows_end_with_eos_or_at_the_limit(runner, model)
    contract.check_samples_follow_the_distribution(runner, model)


def test_generators_of_the_process_are_left_alone(model):
    def states():
        return torch.random.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())

    before = states()
    VllmEngine(model).sample(PROMPTS, None, 2, Decoding(2), seed=1)
    assert states() == before


def test_in_bfloat16_it_tells_of_the_distribution_that_it_draws_from(model):
    """Weights are float32; what it tells is near log π, within what 8 bits of a logit are, and not the same."""
    runner = engine("vllm:bfloat16", model)
    assert runner.name == "vllm:bfloat16"
    contract.check_log_probs_are_those_that_tokens_were_drawn_with(runner, model, [Decoding(4)], within=0.2)
    drawn = runner.sample(PROMPTS[:1], None, 3000, Decoding(1), seed=1)
    own = tiny.next_logits(model, PROMPTS[0], []).log_softmax(-1)
    told = {row[0]: log_probs[0] for row, log_probs in drawn.with_log_probs}
    assert max(abs(told[token] - float(own[token])) for token in told) > 1e-4
    for token, log_prob in told.items():
        share = math.exp(log_prob)
        found = sum(row == [token] for row in drawn.rows) / 3000
        assert found == pytest.approx(share, abs=4 * (share * (1 - share) / 3000) ** 0.5 + 1e-3)


def test_a_new_engine_ends_the_one_before_and_nothing_else():
    first, other = (tiny.language_model(tiny.WIDE, seed=seed) for seed in (3, 4))
    runner = engine("vllm", first)
    taken_over = engine("vllm", other)
    del runner
    gc.collect()
    contract.check_samples_follow_the_distribution(taken_over, other)


def test_weights_that_went_astray_are_found_out(monkeypatch, model):
    def with_swapped_layers(name):
        return name.replace("layers.0", "layers.x").replace("layers.1", "layers.0").replace("layers.x", "layers.1")

    def reloaded(llm, method, kwargs):
        weights = [(with_swapped_layers(name), weight) for name, weight in kwargs["weights_iterator"]]
        return real(llm, method, kwargs={"weights_iterator": iter(weights)})

    import vllm

    real = vllm.LLM.collective_rpc
    monkeypatch.setattr(vllm.LLM, "collective_rpc", reloaded)
    with pytest.raises(ModelError, match=r"other probabilities than torch.*--engine transformers"):
        engine("vllm", model)


def test_what_stops_vllm_is_said_in_one_sentence():
    model = tiny.language_model("llama")  # the heads are too small
    with pytest.raises(ModelError, match=r"vLLM cannot run 'tiny-llama-0' \(.*head.*--engine transformers"):
        engine("vllm", model)


def test_a_student_is_trained_on_its_samples(tmp_path):
    tiny.save(tiny.WIDE, tmp_path / "teacher", seed=1)
    tiny.save(tiny.WIDE, tmp_path / "student", seed=2)
    data = write_data(tmp_path / "data", train=8, validation=2)
    given = ["--teacher", tmp_path / "teacher", "--student", tmp_path / "student", "--task", "gsm8k", "--data", data]
    given += ["--steps", 2, "--batch-size", 4, "--lr", 0.01, "--max-new-tokens", 6, "--threads", 1]
    done = ketchup(tmp_path, "train", "ketchup", "--k", 2, "--engine", "vllm", "--name", "run", *given, seconds=300)
    assert done.code == 0, done.stderr
    assert "vllm" not in done.stdout.lower()
    losses = [row["loss"] for row in read_jsonl(tmp_path / "runs" / "run" / "metrics.jsonl")[0] if "loss" in row]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))
