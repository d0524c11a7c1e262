"""Completions of every shape that servers send: read, or refused in the server's own words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketchup.remote.failures import CallError, NoReply
from ketchup_eval.judge.completions import read_completion
from ketchup_eval.judge.replies import preference_for_a


def body(content="Preferred: A", finish="stop", *, message=None, **choice):
    message = {"role": "assistant", "content": content} if message is None else message
    return {"id": "x", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish, **choice}]}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Preferred: A", "Preferred: A"),
        ([{"type": "text", "text": "Preferred: "}, {"type": "text", "text": "A"}], "Preferred: A"),
        # Mistral's reasoning models
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "B?"}]}, {"type": "text", "text": "A"}], "A"),
        ([{"type": "reasoning", "text": "B?"}, {"type": "output_text", "text": "A"}], "A"),
        ([{"thought": True, "text": "B?"}, {"text": "A"}], "A"),  # Gemini's parts
        (["Preferred: ", "A"], "Preferred: A"),
        ({"type": "text", "text": "A"}, "A"),
        ([{"type": "text", "text": {"value": "A"}}], "A"),
        (7, "7"),
        ([], ""),
        (None, ""),
    ],
)
def test_the_text_of_a_reply(content, text):
    assert read_completion(body(content)).text == text


def test_thoughts_beside_the_content_are_no_reply():
    message = {"role": "assistant", "content": None, "reasoning_content": "Preferred: B", "reasoning": "Preferred: B"}
    assert read_completion(body(message=message)).text == ""


def test_content_without_an_end():
    content = "A"
    for _ in range(300):
        content = [content]
    with pytest.raises(NoReply, match="depth"):
        read_completion(body(content))


def test_a_refusal_of_the_models_is_its_reply():
    assert read_completion(body(message={"content": None, "refusal": "I can't."})).text == "I can't."


@pytest.mark.parametrize("choice", [{"text": "A"}, {"message": "A"}])
def test_a_completion_of_the_older_form(choice):
    assert read_completion({"choices": [choice]}).text == "A"


CUT = ["length", "max_tokens", "MAX_TOKENS", "FinishReason.MAX_TOKENS", "model_length", "max_output_tokens", "Length"]
WHOLE = ["stop", "eos_token", "stop_sequence", "end_turn", "COMPLETE", "tool_calls", "", None]
FAULTS = ["error", "content_filter", "SAFETY", "content_filter: PROHIBITED_CONTENT", "network_error", "abort"]


@pytest.mark.parametrize("finish", CUT)
def test_a_reply_that_the_limit_cut(finish):
    assert read_completion(body(finish=finish)).finish_reason == "length"


@pytest.mark.parametrize("finish", WHOLE)
def test_a_reply_that_ended_by_itself(finish):
    assert read_completion(body(finish=finish)).finish_reason == (finish or None)


@pytest.mark.parametrize("finish", FAULTS)
def test_a_reply_that_a_fault_ended_is_none(finish):
    with pytest.raises(NoReply, match="broke the reply off"):
        read_completion(body(finish=finish))


@pytest.mark.parametrize("field", ["native_finish_reason", "stop_reason", "done_reason", "stop_type"])
def test_a_stop_that_is_no_stop_by_another_field(field):
    assert read_completion(body(**{field: "length"})).finish_reason == "length"
    assert read_completion({**body(), field: "limit"}).finish_reason == "length"
    assert read_completion(body(**{field: 128001})).finish_reason == "stop"


def test_a_stop_that_is_no_stop_by_the_number_of_tokens():
    whole = body() | {"usage": {"prompt_tokens": 3, "completion_tokens": 256}}
    assert read_completion(whole, 256).finish_reason == "length"
    assert read_completion(whole, 257).finish_reason == "stop"
    assert read_completion(whole).finish_reason == "stop"


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        ({"error": {"message": "no credit left", "code": 402}}, "quota", "402: no credit left"),
        ({"error": {"message": "no room", "code": "context_length_exceeded"}}, "too_long", "no room"),
        ({"error": "engine died", "choices": None}, "passing", "engine died"),
        ({"detail": "engine died"}, "passing", "engine died"),
        ([{"error": {"message": "engine died"}}], "passing", "engine died"),
        (body(finish="error", error={"message": "upstream died", "code": 502}), "passing", "502: upstream died"),
        ({"object": "chat.completion", "choices": []}, "passing", "the reply is no chat completion"),
        ({"choices": [None]}, "passing", "the reply is no chat completion"),
        ({}, "passing", "the reply is no chat completion"),
        (None, "passing", "the reply is no chat completion"),
        ("Sign in", "passing", "Sign in"),
    ],
)
def test_an_error_in_the_place_of_a_reply_is_shown_in_its_words(reply, kind, words):
    with pytest.raises(CallError) as caught:
        read_completion(reply)
    assert caught.value.failure.kind == kind
    assert words in str(caught.value)


TOP = [{"token": " A", "logprob": -0.5}, {"token": " B", "logprob": -1.5}]


@pytest.mark.parametrize(
    ("logprobs", "known"),
    [
        ({"content": [{"token": "Preferred:", "top_logprobs": []}, {"token": " A", "top_logprobs": TOP}]}, True),
        ({"content": [{"token": "Preferred:", "logprob": -0.1}]}, False),
        ({"content": [{"token": "Preferred:", "top_logprobs": None}, {"token": " A", "top_logprobs": TOP}]}, False),
        ({"content": [{"token": "Preferred: A", "top_logprobs": [None, {}, {"token": 1}, {"token": "A"}]}]}, False),
        ({"content": [{"token": "Preferred: A", "top_logprobs": [{"token": "A", "logprob": 1e9}]}]}, False),
        ({"content": [{"token": None, "top_logprobs": TOP}]}, False),
        ({"content": None}, False),
        ({"tokens": ["Preferred:", " A"], "token_logprobs": [-0.1, -0.5]}, False),
        ([], False),
        (None, False),
    ],
)
def test_probabilities_are_read_in_their_usual_form_only(logprobs, known):
    completion = read_completion(body(logprobs=logprobs))
    found = preference_for_a(completion.text, completion.tokens, completion.likely)
    assert (found is not None) == known


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["message", "content", "finish_reason", "logprobs", "usage", "error", "choices", "model"]), JSON)
def test_no_json_is_unexpected(field, value):
    """Whatever stands in a field: a completion, or one of the two errors that callers know."""
    whole = body()
    choice = whole["choices"][0]
    place = {"content": choice["message"], "message": choice, "finish_reason": choice, "logprobs": choice}
    place.get(field, whole)[field] = value
    try:
        completion = read_completion(json.loads(json.dumps(whole)), 9)
    except (CallError, NoReply):
        return
    assert isinstance(completion.text, str)
    preference_for_a(completion.text, completion.tokens, completion.likely)
