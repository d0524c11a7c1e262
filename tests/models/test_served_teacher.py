"""A teacher behind a server says what the same network says here, asked once for each rollout, or one sentence."""

import json

import pytest
import torch

from ketchup.errors import KetchupError, ModelError, RunError, ServerError
from ketchup.models import scoring
from ketchup.models.served.answers import Answers
from ketchup.models.served.checks import check_served
from ketchup.models.served.replies import TokenValues
from ketchup.models.served.teacher import ServedTeacher
from ketchup.models.teacher import score, score_teacher
from ketchup.remote.calls import Patience
from ketchup.remote.endpoint import Endpoint
from tests import tiny
from tests.models.fake_teacher import MAX_MODEL_LEN, NAME, FakeTeacher

PROMPTS = [[2, 3, 4], [5, 2]]
TOKENS = torch.tensor([[2, 3, 1, 0], [4, 4, 4, 4], [5, 1, 0, 0], [2, 3, 4, 5]])
MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]]).bool()
"""Two samples of each; the second has a token in it that the environment wrote."""


@pytest.fixture(scope="module")
def local():
    return tiny.language_model("llama", seed=1)


@pytest.fixture(scope="module")
def student():
    return tiny.language_model("llama", seed=2)


def served(url, folder, *, name=NAME, attempts=3, **more):
    patience = Patience(attempts=attempts, first_wait=0.01, timeout=10)
    return ServedTeacher(name, Endpoint(url, option="--teacher-url", **more), folder, patience)


def checked(url, folder, student, **more):
    teacher = served(url, folder, **more)
    check_served(teacher, student)
    return teacher


def test_values_are_those_of_the_local_teacher_in_log_probabilities(tmp_path, local, student):
    with FakeTeacher(local).running() as url:
        found, own = score(checked(url, tmp_path, student), student, PROMPTS, TOKENS, MASK)
    here, both = scoring.score(local, student, PROMPTS, TOKENS, MASK)
    torch.testing.assert_close(found.q, (here.q - here.logsumexp) * MASK, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.v, (here.v - here.logsumexp) * MASK, atol=1e-4, rtol=0)
    assert found.mean is None
    assert own.kl is None
    assert own.own_value is None
    for name in ("log_prob", "entropy", "collision"):
        torch.testing.assert_close(getattr(own, name), getattr(both, name), atol=1e-6, rtol=0)


def test_students_numbers_are_of_the_distribution_that_was_sampled(student):
    found = scoring.score_student(student, PROMPTS, TOKENS, MASK, temperature=0.7, top_k=3)
    both = scoring.score(student, student, PROMPTS, TOKENS, MASK, temperature=0.7, top_k=3)[1]
    for name in ("log_prob", "entropy", "collision"):
        torch.testing.assert_close(getattr(found, name), getattr(both, name))


def test_alike_rollouts_are_asked_for_once_and_none_again(tmp_path, local, student):
    fake = FakeTeacher(local)
    tokens, mask = torch.cat([TOKENS, TOKENS]), torch.cat([MASK, MASK])
    with fake.running() as url:
        first = score_teacher(checked(url, tmp_path, student), PROMPTS * 2, tokens, mask)
        again = score_teacher(checked(url, tmp_path, student), PROMPTS * 2, tokens, mask)
    assert set(fake.rollouts_asked.values()) == {1}
    assert len(fake.rollouts_asked) == 4
    assert torch.equal(first.q, again.q)
    assert torch.equal(first.v, again.v)


def test_a_row_without_actions_is_not_asked_for(tmp_path, local, student):
    fake = FakeTeacher(local)
    mask = MASK.clone()
    mask[1] = False
    with fake.running() as url:
        found = score_teacher(checked(url, tmp_path, student), PROMPTS, TOKENS, mask)
    assert len(fake.rollouts_asked) == 3
    assert not found.q[1].any()


def test_a_server_gone_in_the_middle_and_back_loses_and_repeats_nothing(tmp_path, local, student):
    tokens = torch.tensor([[2, 3, x, y] for x in range(2, 6) for y in range(2, 6)])
    mask = torch.ones_like(tokens).bool()
    fake = FakeTeacher(local)
    with fake.running() as url:
        teacher = checked(url, tmp_path, student)
        fake.fault = lambda tokens, count: (None, {}) if len(fake.rollouts_asked) >= 6 else None
        with pytest.raises(ServerError, match=r"answers no more.*is kept: start it and run the same command again"):
            score_teacher(teacher, PROMPTS[:1], tokens, mask)
    assert len(fake.rollouts_asked) == 6
    with pytest.raises(ServerError, match=r"cannot be reached .*is kept: start it and run the same command again"):
        score_teacher(served(url, tmp_path), PROMPTS[:1], tokens, mask)
    fake.fault = lambda tokens, count: None
    with fake.running() as url:
        found = score_teacher(checked(url, tmp_path, student), PROMPTS[:1], tokens, mask)
    assert set(fake.rollouts_asked.values()) == {1}
    assert len(fake.rollouts_asked) == 16
    here = scoring.score_teacher(local, PROMPTS[:1], tokens, mask)
    torch.testing.assert_close(found.q, here.q - here.logsumexp, atol=1e-4, rtol=0)


def test_the_failure_that_stopped_the_others_is_the_one_that_is_said(tmp_path, local, student):
    """The first call waits for another try when a later one fails for good."""
    fake = FakeTeacher(local)
    refusal = 400, {"error": {"message": "no such thing"}}
    with fake.running() as url:
        teacher = served(url, tmp_path, attempts=5)
        check_served(teacher, student)
        teacher.patience = Patience(attempts=5, first_wait=3)
        fake.fault = lambda tokens, count: (503, {}) if tokens[-1] == 1 else refusal
        with pytest.raises(ServerError, match="no such thing"):
            score_teacher(teacher, PROMPTS, TOKENS, MASK)


@pytest.mark.parametrize(
    "passing", [(503, {"error": "loading"}), (429, {}), (None, {}), (200, []), (200, {"choices": []})]
)
def test_what_passes_is_tried_again(tmp_path, local, student, passing):
    fake = FakeTeacher(local, fault=lambda tokens, count: passing if count == 1 else None)
    with fake.running() as url:
        score_teacher(checked(url, tmp_path, student), PROMPTS, TOKENS, MASK)
    assert set(fake.rollouts_asked.values()) == {1}


def without_best(reply):
    for place in reply["choices"][0]["prompt_logprobs"][1:]:
        for name in [name for name, row in place.items() if row["rank"] == 1][: len(place) - 1]:
            del place[name]
    return reply


def with_logits(reply):
    for place in reply["choices"][0]["prompt_logprobs"][1:]:
        for row in place.values():
            row["logprob"] += 20
    return reply


def without_numbers(reply):
    reply["choices"][0]["prompt_logprobs"] = None
    return reply


def with_a_row_of_padding(reply):
    for place in reply["choices"][0]["prompt_logprobs"][1:]:
        place["99"] = {"logprob": -1e-6, "rank": 1, "decoded_token": ""}
    return reply


REFUSED = {"error": {"message": "Requested prompt logprobs of 1, which is greater than max allowed: 0", "code": 400}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without_best, r"likeliest token of each state .*--max-logprobs 1"),
        (with_logits, r"gives token \d+ .*no log-probability"),
        (without_numbers, r"takes no prompt_logprobs"),
        (with_a_row_of_padding, r"likeliest token is 99, and the student has 6"),
    ],
)
def test_numbers_of_no_use_are_refused_before_work(tmp_path, local, student, change, said):
    with FakeTeacher(local, change=change).running() as url, pytest.raises(ServerError, match=said) as caught:
        checked(url, tmp_path, student)
    assert str(caught.value).count(". ") == 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ((400, REFUSED), r"likeliest token of each state .*--max-logprobs 1"),
        ((401, {"error": "Unauthorized"}), r"refuses the key .*OPENAI_API_KEY"),
        ((402, {"error": {"message": "insufficient credits"}}), "credit is used up"),
        ((400, {"error": {"message": "prompt must be a string"}}), r"cannot be used \(400: prompt must be a string\)"),
    ],
)
def test_refusals_are_said_before_work(tmp_path, local, student, fault, said):
    fake = FakeTeacher(local, fault=lambda tokens, count: fault)
    with fake.running() as url, pytest.raises(ServerError, match=said):
        checked(url, tmp_path, student)


def test_another_model_is_refused_naming_those_that_are_served(tmp_path, local, student):
    with FakeTeacher(local, names=("one", "two")).running() as url, pytest.raises(ServerError) as caught:
        checked(url, tmp_path, student)
    assert str(caught.value) == f"{url} has no model 'served'; name one that it serves with --teacher: one, two."


def test_an_unreachable_server_is_said(tmp_path, student):
    with pytest.raises(ServerError, match=r"127.0.0.1:9/v1 cannot be reached .*start it or name another --teacher-url"):
        checked("http://127.0.0.1:9/v1", tmp_path, student)


@pytest.mark.parametrize("url", ["ftp://host/v1", "127.0.0.1:8000", "http://", "https://a b/v1"])
def test_what_is_no_address_is_said(url):
    with pytest.raises(KetchupError, match="give --teacher-url one such as"):
        Endpoint(url, option="--teacher-url")


def test_an_encoder_decoder_student_is_refused(tmp_path):
    with pytest.raises(ModelError, match="decoder-only"):
        checked("http://127.0.0.1:9/v1", tmp_path, tiny.language_model("t5"))


@pytest.mark.parametrize("detokenizes", [True, False])
def test_a_token_that_is_another_one_to_the_teacher_is_named(tmp_path, local, student, detokenizes):
    others = tiny.tokenizer("llama", ("a", "b", "d", "c"))
    fake = FakeTeacher(local, tokenizer=others, detokenizes=detokenizes)
    with fake.running() as url, pytest.raises(ModelError, match=r"reads token [45] as '[cd]' and the student"):
        checked(url, tmp_path, student)


def test_a_shorter_vocabulary_is_noticed(tmp_path, student):
    """Its server knows all tokens of the text that is asked about."""
    fake = FakeTeacher(tiny.language_model("llama", seed=1), tokenizer=tiny.tokenizer("llama", ("a", "b", "c")))
    with fake.running() as url, pytest.raises(ModelError, match="reads token 5 as '' and the student"):
        checked(url, tmp_path, student)


def test_another_model_under_the_same_name_is_noticed_in_a_run_that_has_begun(tmp_path, local, student):
    with FakeTeacher(local).running() as url:
        checked(url, tmp_path, student)
        checked(url, tmp_path, student)
    with FakeTeacher(tiny.language_model("llama", seed=7)).running() as url:
        with pytest.raises(RunError, match="serves another model as 'served' than when this run began"):
            checked(url, tmp_path, student)
        checked(url, tmp_path / "other", student)


def test_the_key_is_sent(tmp_path, local, student):
    fake = FakeTeacher(local)
    with fake.running() as url:
        checked(url, tmp_path, student, key="sk-own")
    assert fake.keys == {"Bearer sk-own"}


def test_the_teacher_reads_one_token_less_than_its_server(tmp_path, local, student):
    with FakeTeacher(local).running() as url:
        assert checked(url, tmp_path, student).max_tokens == MAX_MODEL_LEN - 1


def test_the_newest_answers_stay(tmp_path, monkeypatch):
    monkeypatch.setattr("ketchup.models.served.answers.MOST_BYTES", 300)
    answers = Answers(tmp_path)
    for number in range(20):
        answers.add(str(number), TokenValues([-1.0], [-0.5]))
        assert answers.get(str(number)) == TokenValues([-1.0], [-0.5])
    assert answers.get("0") is None
    again = Answers(tmp_path)
    assert again.get("19") == TokenValues([-1.0], [-0.5])
    assert sum(file.stat().st_size for file in tmp_path.glob("*.jsonl")) < 1000


def test_a_torn_answer_is_asked_again(tmp_path):
    Answers(tmp_path).add("a", TokenValues([-1.0], [-0.5]))
    (file,) = tmp_path.glob("*.jsonl")
    with file.open("ab") as end:
        end.write(json.dumps({"key": "b"}).encode()[:5])
    again = Answers(tmp_path)
    assert again.get("a")
    assert again.get("b") is None
    again.add("b", TokenValues([-2.0], [-2.0]))
    assert Answers(tmp_path).get("b") == TokenValues([-2.0], [-2.0])
