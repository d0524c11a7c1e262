"""`ketchup.load`, `sample` and `score` against transformers itself."""

import pytest
import torch

import ketchup
from ketchup.errors import DataError, ModelError, UsageError
from ketchup.tasks import task_named
from ketchup.tasks.rows import load_inputs
from tests import tiny


@pytest.fixture(scope="module", params=tiny.KINDS)
def pair(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    for seed, name in ((1, "teacher"), (2, "student")):
        tiny.save(request.param, folder / name, seed=seed)
    return ketchup.load(str(folder / "teacher"), str(folder / "student"), device="cpu")


def all_logits(model, prompt, tokens):
    """What the network says of each token [T, V], by one plain forward pass."""
    ids, written = torch.tensor([prompt]), torch.tensor([tokens])
    with torch.no_grad():
        if model.encoder_decoder:
            start = torch.tensor([[model.network.config.decoder_start_token_id]])
            read = torch.cat([start, written], dim=1)[:, :-1]
            return model.network(input_ids=ids, decoder_input_ids=read).logits[0, :, : model.vocabulary]
        found = model.network(input_ids=torch.cat([ids, written], dim=1)).logits[0, len(prompt) - 1 : -1]
        return found[:, : model.vocabulary]


def test_a_pair_is_what_its_names_are(pair):
    teacher, student = pair
    assert (pair.teacher.name, pair.student.name) == (teacher.name, student.name)
    assert teacher.name.endswith("teacher")
    alone = ketchup.load(student.name, device="cpu", dtype="float32")
    assert torch.equal(alone.network.get_output_embeddings().weight, student.network.get_output_embeddings().weight)
    assert alone.network.dtype == torch.float32


def test_greedy_outputs_are_those_of_transformers(pair):
    drawn = ketchup.sample(pair.student, ["ab", "c"], max_new_tokens=6, temperature=0)
    for row, prompt in enumerate(("ab", "c")):
        ids = pair.student.tokenizer(prompt).input_ids
        assert drawn.prompts[row] == ids
        whole = pair.student.network.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=6)[0]
        written = whole[1:] if pair.student.encoder_decoder else whole[len(ids) :]
        kept = drawn.tokens[row][drawn.mask[row]]
        assert kept.tolist() == written[: len(kept)].tolist()
        assert bool(drawn.ended[row]) == (pair.student.eos_id in kept.tolist())
        assert drawn.texts[row] == pair.student.tokenizer.decode(kept, skip_special_tokens=True)


def test_strings_end_outputs_and_are_no_text(pair):
    """Of the same draws: each up to the first token whose text completes the string, found by decoding one by one."""
    options = {"max_new_tokens": 8, "samples": 16, "seed": 2}
    whole = ketchup.sample(pair.student, ["ab"], **options)
    word = max(whole.texts, key=len)[1]
    cut = ketchup.sample(pair.student, ["ab"], stop=[word], **options)
    assert any(word in text for text in whole.texts)
    for row, text in enumerate(whole.texts):
        tokens = whole.tokens[row][whole.mask[row]].tolist()
        lengths = [n for n in range(1, len(tokens) + 1) if word in pair.student.tokenizer.decode(tokens[:n])]
        kept = tokens[: lengths[0]] if lengths else tokens
        assert cut.tokens[row][cut.mask[row]].tolist() == kept
        assert cut.texts[row] == text.split(word)[0]
        assert bool(cut.ended[row]) == (bool(lengths) or bool(whole.ended[row]))


def test_scores_are_those_of_a_plain_pass(pair):
    teacher, student = pair
    drawn = ketchup.sample(student, [student.tokenizer("ab").input_ids, [3, 4, 5]], samples=4, max_new_tokens=5, seed=3)
    assert drawn.groups.tolist() == [0] * 4 + [1] * 4
    found = ketchup.score(teacher, drawn, student)
    for row, group in enumerate(drawn.groups.tolist()):
        tokens = drawn.tokens[row][drawn.mask[row]]
        q, pi = (all_logits(model, drawn.prompts[group], tokens.tolist()) for model in (teacher, student))
        log_p, log_pi = q.log_softmax(-1), pi.log_softmax(-1)
        at = (torch.arange(len(tokens)), tokens)
        expected = {
            "q": q[at],
            "v": q.amax(-1),
            "mean": q.mean(-1),
            "logsumexp": q.logsumexp(-1),
            "log_prob": log_pi[at],
            "kl": (log_p.exp() * (log_p - log_pi)).sum(-1),
            "entropy": -(log_pi.exp() * log_pi).sum(-1),
            "collision": log_pi.exp().square().sum(-1),
            "own_value": (log_pi.exp() * q).sum(-1),
        }
        for name, values in expected.items():
            torch.testing.assert_close(getattr(found, name)[row][drawn.mask[row]], values, atol=1e-4, rtol=1e-4)
            assert not getattr(found, name)[row][~drawn.mask[row]].any()
    half = ketchup.score(teacher, drawn)
    torch.testing.assert_close(half.q, found.q)
    assert half.log_prob is half.own_value is None


def test_the_same_seed_draws_the_same(pair):
    first, again, other = (
        ketchup.sample(pair.student, ["abcd"], samples=8, max_new_tokens=8, seed=seed).tokens for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_task_brings_its_rows_its_prompt_and_its_calculator():
    """The demo's teacher solves its task, which it could not without all three."""
    teacher = ketchup.load("demo-teacher", device="cpu")
    inputs = load_inputs(task_named("demo"), "test", None, 3)
    drawn = ketchup.sample(teacher, task="demo", limit=3, temperature=0)
    assert drawn.ids == tuple(one.id for one in inputs)
    answers = [one.reference.rpartition("#### ")[2] for one in inputs]
    assert [text.rpartition("#### ")[2] for text in drawn.texts] == answers
    written = drawn.tokens != teacher.pad_id
    assert (written & ~drawn.mask).any()  # what the calculator wrote
    again = ketchup.sample(teacher, [one.source for one in inputs], task="demo", temperature=0)
    assert again.texts == drawn.texts
    assert again.ids == ("1", "2", "3")


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({}, UsageError, "prompts"),
        ({"prompts": []}, UsageError, "prompts"),
        ({"prompts": ["a"], "samples": 0}, UsageError, "samples"),
        ({"prompts": ["a"], "top_k": 99}, UsageError, "top-k"),
        ({"prompts": ["a"], "max_new_tokens": 0}, UsageError, "max-new-tokens"),
        ({"prompts": [[3]], "task": "demo"}, UsageError, "token ids"),
        ({"prompts": [[999]]}, ModelError, "999"),
        ({"prompts": [[]]}, ModelError, "no tokens"),
        ({"task": "demos"}, UsageError, "demos"),
        ({"task": "gsm8k", "data": "nowhere"}, DataError, "nowhere"),
        ({"prompts": ["a"], "engine": "fast"}, UsageError, "fast"),
    ],
)
def test_what_cannot_be_is_one_sentence(pair, given, error, said):
    with pytest.raises(error, match=said):
        ketchup.sample(pair.student, **given)


def test_models_that_do_not_fit_are_refused(pair):
    with pytest.raises(ModelError, match="differ"):
        ketchup.load("demo-teacher", pair.student.name, device="cpu")
    drawn = ketchup.sample(pair.student, ["a"], max_new_tokens=2)
    with pytest.raises(ModelError, match="differ"):
        ketchup.score(ketchup.load("demo-student-1", device="cpu"), drawn, pair.student)
    with pytest.raises(UsageError, match="float8"):
        ketchup.load(pair.student.name, device="cpu", dtype="float8")
    with pytest.raises(UsageError, match="tpu"):
        ketchup.load(pair.student.name, device="tpu")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: ketchup.sample("demo-student-3", ["a"]), "'demo-student-3' is no loaded model; write ketchup.load"),
        (lambda m: ketchup.score("demo-teacher", None), "'demo-teacher' is no loaded model"),
        (lambda m: ketchup.sample(m, "ab"), r"prompts is a list; write \['ab'\] in place of 'ab'"),
        (lambda m: ketchup.sample(m, ["a"], stop="END"), r"stop is a list; write \['END'\]"),
        (lambda m: ketchup.load(None), "A model is a name or a path as a text, not None"),
        (lambda m: ketchup.load("demo-teacher", 3), "A model is a name or a path as a text, not 3"),
        (lambda m: ketchup.measure("a", "b", k=2), r"k is a list; write \[2\] in place of 2"),
        (lambda m: ketchup.measure("a", "b", k="2"), r"k is a list; write \['2'\]"),
        (lambda m: ketchup.measure("a", "b", estimators="soft"), r"estimators is a list; write \['soft'\]"),
        (lambda m: ketchup.measure("a", "b", gradient=True, baselines="none"), r"baselines is a list"),
        (lambda m: ketchup.evaluate("a", metrics="accuracy"), r"metrics is a list; write \['accuracy'\]"),
        (lambda m: ketchup.evaluate(None), "A system is a name or a path as a text, not None"),
        (lambda m: ketchup.compare("a", "b", metrics="bleu"), r"metrics is a list"),
        (lambda m: ketchup.judge("a", "b", criteria="overall"), r"criteria is a list; write \['overall'\]"),
    ],
)
def test_one_value_for_a_list_and_a_name_for_a_model_are_told(call, said):
    """A text was taken letter by letter: `stop="END"` ended outputs at each E."""
    with pytest.raises(UsageError, match=said):
        call(tiny.language_model("t5"))
