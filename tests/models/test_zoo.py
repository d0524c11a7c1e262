"""Every kind of model is read, trained and sampled as its own forward pass computes it, or refused in one sentence.

The independent side is transformers alone: a network loaded by itself, one unpadded prompt at a time, no cache.
"""

import logging
from functools import cache, lru_cache

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from ketchup.errors import KetchupError, ModelError
from ketchup.methods.base import Trajectory
from ketchup.methods.batches import action_states
from ketchup.models.language_model import pad
from ketchup.models.layers import keep_layers
from ketchup.models.loading import load
from ketchup.models.scoring import log_probs, score
from ketchup.rollouts import engines, stepwise
from ketchup.rollouts.engines import engine
from ketchup.rollouts.types import Decoding, Drawn
from ketchup.training.adapters import AdapterWeights
from tests import zoo

drawn = torch.Generator().manual_seed(0)
PROMPTS = [torch.randint(3, zoo.SIZE, (length,), generator=drawn).tolist() for length in (41, 23, 34, 2)]
"""Of unequal length; three are longer than any window."""
SAMPLES, ACTIONS = 40, 5
SHARES_NO_PROMPT = {"GPT", "RWKV", "BART's decoder", "Switch"}
NEEDS_ITS_OWN_HEAD = {"Mamba", "RecurrentGemma"}
CTRANSLATE2 = {
    *("T5", "T5 v1.1", "FLAN-T5", "mT5", "UMT5", "BART", "Pegasus", "GPT-2", "BLOOM", "OPT", "Llama", "Llama, tied"),
    *("Llama, tied by its config alone", "Qwen2", "Qwen3", "Gemma", "Mistral, window never reached"),
}
"""Those that CTranslate2 samples; `auto` samples the others with transformers."""
every_model = pytest.mark.parametrize("name", zoo.ZOO)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("zoo")
    return cache(lambda name, seed: zoo.save(name, place / f"{name.replace('/', ' ')} {seed}", seed))


@pytest.fixture(scope="module")
def models(folders):
    return cache(lambda name, seed=0: load(str(folders(name, seed))))


@pytest.fixture(scope="module")
def networks(folders):
    @lru_cache
    def network(name, seed=0):
        kind = AutoModelForSeq2SeqLM if name in zoo.ENCODER_DECODER else AutoModelForCausalLM
        return kind.from_pretrained(folders(name, seed), dtype=torch.float32).eval()

    return network


def plain(network, prompt, rows):
    """Logits [R, T, V] of rows [R, T] after one prompt."""
    prompts = torch.tensor([prompt]).expand(len(rows), -1)
    if network.config.is_encoder_decoder:
        start = torch.full_like(rows[:, :1], network.config.decoder_start_token_id)
        before = torch.cat([start, rows[:, :-1]], dim=1)
        return network(input_ids=prompts, decoder_input_ids=before, use_cache=False).logits.double()
    read = torch.cat([prompts, rows[:, :-1]], dim=1)
    return network(input_ids=read, use_cache=False).logits[:, len(prompt) - 1 :].double()


@every_model
def test_the_cheapest_right_reading_is_chosen(name, models):
    expected = "joint" if name in SHARES_NO_PROMPT else "whole" if name in NEEDS_ITS_OWN_HEAD else "shared"
    assert models(name).reading == expected


@every_model
def test_scores_are_those_of_plain_forward_passes(name, models, networks):
    teacher, student = models(name, 0), models(name, 1)
    tokens = torch.randint(1, zoo.SIZE, (2 * len(PROMPTS), ACTIONS), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[3, 2:] = False  # a row that ended early
    of_teacher, of_student = score(teacher, student, PROMPTS, tokens, mask)
    for index, prompt in enumerate(PROMPTS):
        mine = slice(2 * index, 2 * index + 2)
        kept, actions = mask[mine], tokens[mine, :, None]
        with torch.no_grad():
            p, pi = (plain(networks(name, seed), prompt, tokens[mine]) for seed in (0, 1))
        pi = pi.log_softmax(-1)
        q, log_pi = (logits.gather(-1, actions)[..., 0] for logits in (p, pi))
        kl = (p.softmax(-1) * (p.log_softmax(-1) - pi)).sum(-1)
        for found, expected in (
            (of_teacher.q, q),
            (of_teacher.v, p.amax(-1)),
            (of_teacher.logsumexp, p.logsumexp(-1)),
            (of_student.log_prob, log_pi),
            (of_student.kl, kl),
        ):
            torch.testing.assert_close(found[mine][kept].double(), expected[kept], atol=1e-4, rtol=0)


@every_model
def test_training_follows_the_gradient_of_plain_forward_passes(name, models, networks):
    model, network = models(name), networks(name)
    rows = torch.randint(1, zoo.SIZE, (len(PROMPTS), ACTIONS), generator=torch.Generator().manual_seed(2))
    batch = [Trajectory.of(p, row.tolist(), [True] * ACTIONS) for p, row in zip(PROMPTS, rows, strict=True)]
    states, actions = action_states(model, batch)
    found = log_probs(model, states, actions)
    log_pi = torch.cat([plain(network, p, row[None])[0].log_softmax(-1) for p, row in zip(PROMPTS, rows, strict=True)])
    expected = log_pi.gather(-1, rows.reshape(-1, 1))[:, 0]
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=0)
    weights = torch.linspace(-1, 2, len(found))
    gradient = torch.autograd.grad((weights * found).sum(), list(model.network.parameters()), allow_unused=True)
    wanted = torch.autograd.grad((weights * expected).sum(), list(network.parameters()), allow_unused=True)
    assert any(part is not None for part in gradient)
    for ours, theirs in zip(gradient, wanted, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, atol=1e-3 * float(theirs.abs().max()) + 1e-6, rtol=0)


def drawn_from_the_model(runner, network):
    """z of Σ (log π + H), whose terms are 0 in the mean where tokens are drawn from π."""
    rows = runner.sample(PROMPTS, None, SAMPLES, Decoding(ACTIONS), seed=3).rows
    total = variance = 0.0
    for index, prompt in enumerate(PROMPTS):
        mine, mask = pad(rows[index * SAMPLES : (index + 1) * SAMPLES], zoo.EOS)
        with torch.no_grad():
            log_pi = plain(network, prompt, mine).log_softmax(-1)
        pi = log_pi.exp()
        entropy = -(pi * log_pi).sum(-1)
        log_prob = log_pi.gather(-1, mine[..., None])[..., 0]
        total += float((log_prob + entropy)[mask].sum())
        variance += float(((pi * log_pi.square()).sum(-1) - entropy.square())[mask].sum())
    return total / variance**0.5


@every_model
def test_transformers_draws_from_the_model(name, models, networks):
    assert abs(drawn_from_the_model(engine("transformers", models(name)), networks(name))) < 4


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks for it
@pytest.mark.parametrize("name", ["Gemma 2", "Mistral", "BART", "FLAN-T5"])
def test_adapters_are_trained_on_what_the_adapted_network_computes(name, folders):
    model = AdapterWeights(load(str(folders(name, 0))), 2, seed=0).model
    torch.manual_seed(0)
    with torch.no_grad():
        for name_of, weight in model.network.named_parameters():
            if "lora_B" in name_of:  # zero at first, which is no change
                weight.normal_(std=0.2)
    rows = torch.tensor([[5, 9, 3], [3, 22, 30]])
    batch = [Trajectory.of(p, row.tolist(), [True] * 3) for p, row in zip(PROMPTS[:2], rows, strict=True)]
    found = log_probs(model, *action_states(model, batch))
    log_pi = torch.cat([plain(model.network, p, row[None])[0] for p, row in zip(PROMPTS[:2], rows, strict=True)])
    expected = log_pi.log_softmax(-1).gather(-1, rows.reshape(-1, 1))[:, 0]
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=0)
    trained = [weight for weight in model.network.parameters() if weight.requires_grad]
    gradients = [torch.autograd.grad(values.sum(), trained) for values in (found, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3 * float(theirs.abs().max()) + 1e-6, rtol=0)


class Stepwise:
    """Token by token, as with a calculator, here without one."""

    def __init__(self, model):
        self.model = model

    def sample(self, prompts, prefixes, samples, decoding, seed):
        return Drawn([row.tokens for row in stepwise.write(self.model, prompts, samples, decoding, seed, None)])


@every_model
def test_writing_token_by_token_draws_from_the_model_or_is_left_alone(name, models, networks):
    model = models(name)
    known = model.reading == "shared" and not name.startswith("M2M-100")  # which counts positions by what is no pad
    assert stepwise.supports(model) == known
    if known:
        assert abs(drawn_from_the_model(Stepwise(model), networks(name))) < 4


@every_model
def test_ctranslate2_draws_from_the_model_or_leaves_it_to_transformers(name, models, networks, caplog):
    model = models(name)
    engines._say.cache_clear()
    with caplog.at_level(logging.WARNING, logger="ketchup.rollouts.engines"):
        runner = engine("auto", model)
        engine("auto", model)
    if name in CTRANSLATE2:
        assert runner.name == "ctranslate2"
        assert not caplog.messages
        assert abs(drawn_from_the_model(runner, networks(name))) < 4
        return
    assert runner.name == "transformers"
    (notice,) = caplog.messages
    assert notice.startswith("CTranslate2 ")
    assert notice.endswith("; it is sampled with transformers.")
    with pytest.raises(KetchupError) as refused:
        engine("ctranslate2", model)
    assert str(refused.value) == notice.replace("it is sampled with transformers.", "use --engine transformers.")


@every_model
def test_a_student_of_all_layers_is_the_teacher(name, folders, networks):
    teacher = networks(name)
    try:
        student = keep_layers(teacher, 2)
    except ModelError as error:
        assert name == "Switch" or "are is not known" in str(error), error  # noqa: PT017
        return
    rows = torch.tensor([[5, 9, 3, 22]])
    with torch.no_grad():
        assert torch.equal(plain(student, PROMPTS[0], rows), plain(teacher, PROMPTS[0], rows))
