"""What servers say when they refuse, and what it means; the bodies have the form that each server is known for."""

import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketchup.remote.failures import LONGEST_REASON, failure_in, refused_parameter


def error(message, **fields):
    return {"error": {"message": message, **fields}}


TOO_LONG = {
    "OpenAI": (
        400,
        error("This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."),
    ),
    "OpenAI, by code": (400, error("Sorry.", code="context_length_exceeded", type="invalid_request_error")),
    "vLLM": (
        400,
        {
            "object": "error",
            "message": "The decoder prompt (length 9000) is longer than the maximum model length of 9.",
        },
    ),
    "vLLM, with max_tokens": (
        400,
        error("'max_tokens' or 'max_completion_tokens' is too large: 256. This model's maximum context length is 2048"),
    ),
    "llama.cpp": (400, error("request (9 tokens) exceeds the available context size (4 tokens), try increasing it")),
    "llama.cpp, by type": (500, error("No.", type="exceed_context_size_error", code=500, n_ctx=4)),
    "llama.cpp, as a fault": (500, error("Context size has been exceeded.", type="server_error", code=500)),
    "llama.cpp, as a success": (200, error("the request exceeds the available context size", code=400)),
    "llama-cpp-python": (400, error("Requested tokens (2285) exceed context window of 2048")),
    "SGLang": (
        400,
        {"object": "error", "message": "The input (9 tokens) is longer than the model's context length (4 tokens)."},
    ),
    "TGI": (
        422,
        {
            "error": "Input validation error: `inputs` must have less than 4 tokens. Given: 9",
            "error_type": "validation",
        },
    ),
    "TGI, with max_tokens": (422, {"error": "`inputs` tokens + `max_new_tokens` must be <= 4. Given: 9 and 256"}),
    "Gemini": (400, [error("The input token count (9) exceeds the maximum number of tokens allowed (4).", code=400)]),
    "Anthropic": (
        400,
        {"type": "error", "error": {"type": "x", "message": "prompt is too long: 9 tokens > 4 maximum"}},
    ),
    "Anthropic, by type": (400, {"type": "error", "error": {"type": "request_too_large", "message": "No."}}),
    "LM Studio": (
        400,
        {"error": "Trying to keep the first 9 tokens when context the overflows. Provide a shorter input."},
    ),
    "Ollama": (400, {"error": "the input length exceeds the context length"}),
    "Mistral": (400, {"message": "Prompt contains 9 tokens, too large for model with 4 maximum context length"}),
    "Bedrock": (400, {"message": "Input is too long for requested model.", "__type": "ValidationException"}),
    "OpenRouter, in an upstream's words": (
        400,
        error("Provider returned error", metadata={"raw": json.dumps(error("prompt is too long: 9 > 4"))}),
    ),
    "a proxy": (413, "<html><head><title>413 Request Entity Too Large</title></head></html>"),
    "Groq": (413, error("Request too large for model `x`", code="rate_limit_exceeded", type="tokens")),
}
BLOCKED = {
    "Azure": (400, error("The response was filtered", innererror={"code": "ResponsibleAIPolicyViolation"})),
    "OpenAI": (400, error("Invalid prompt: it violates our usage policy.", code="invalid_prompt")),
    "OpenRouter": (403, error("Your input was flagged", code=403, metadata={"reasons": ["hate"]})),
    "DeepSeek": (400, error("Content Exists Risk", type="invalid_request_error")),
    "DashScope": (400, error("Input data may be improper.", code="data_inspection_failed")),
    "Gemini": (200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
}
OTHERS = {
    "OpenAI, no credit": (
        429,
        error("You exceeded it.", type="insufficient_quota", code="insufficient_quota"),
        "quota",
    ),
    "Anthropic, no credit": (400, error("Your credit balance is too low to access the API."), "quota"),
    "DeepSeek, no credit": (402, error("Insufficient Balance"), "quota"),
    "an upstream's, no credit": (200, error("upstream has no credit left", code=402), "quota"),
    "Gemini, too often": (429, [error("You exceeded your current quota.", status="RESOURCE_EXHAUSTED")], "passing"),
    "OpenAI, too often": (429, error("Rate limit reached: too many tokens per minute", code="x"), "passing"),
    "Anthropic, overloaded": (529, error("Overloaded", type="overloaded_error"), "passing"),
    "an upstream's fault": (200, error("upstream timed out", code=504), "passing"),
    "a gateway": (502, "<html><body>Bad Gateway</body></html>", "passing"),
    "a key": (401, error("Incorrect API key provided"), "key"),
    "Ollama, no model": (404, error('model "x" not found, try pulling it first'), "model"),
    "OpenRouter, no model": (400, error("x is not a valid model ID"), "model"),
    "Groq, no model": (400, error("The model `x` has been decommissioned", code="model_decommissioned"), "model"),
    "a value": (400, error("top_logprobs must be at most 5"), "refused"),
    "nothing": (400, "", "refused"),
    "a ban": (403, error("Country not supported"), "refused"),
}


@pytest.mark.parametrize("name", TOO_LONG)
def test_a_prompt_that_is_too_long(name):
    status, body = TOO_LONG[name]
    assert failure_in(body, status).kind == "too_long"
    assert failure_in(json.dumps(body), status).kind == "too_long"


@pytest.mark.parametrize("name", BLOCKED)
def test_a_prompt_that_is_not_allowed(name):
    status, body = BLOCKED[name]
    assert failure_in(json.dumps(body), status).kind == "blocked"


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_the_prompts_fault_or_may_be_either(name):
    status, body, kind = OTHERS[name]
    assert failure_in(body, status).kind == kind


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (error("Too\nmany  words."), "400: Too many words"),
        ({"detail": [{"loc": ["body", "n"], "msg": "not here", "input": "sk"}]}, "400: body.n: not here"),
        ({"detail": "Not so"}, "400: Not so"),
        ({"error": "Not so", "error_type": "x"}, "400: Not so"),
        ({"errors": [{"message": "One"}, {"message": "Two"}]}, "400: One; Two"),
        (error("Provider returned error", metadata={"raw": '{"error": "Why"}'}), "400: Provider returned error; Why"),
        ("<html><style>x</style><h1>Sign in</h1></html>", "400: Sign in"),
        ("plain words", "400: plain words"),
        ("", "400: without a word"),
        ({"a": {"b": 1}}, "400: without a word"),
        ([], "400: without a word"),
        (None, "400: without a word"),
        ("[" * 100_000, "400: " + "[" * (LONGEST_REASON - 5)),
        (error("\x1b[31mred"), r"400: \x1b[31mred"),
    ],
)
def test_the_servers_own_words_are_shown_on_one_line(body, reason):
    assert failure_in(body, 400).reason == reason


def test_words_of_the_prompt_that_an_error_repeats_are_not_the_servers():
    body = {"detail": [{"loc": ["body", "x"], "msg": "wrong", "input": "the maximum context length; content filter"}]}
    assert failure_in(body, 422).kind == "refused"


SENT = ("temperature", "max_tokens", "seed")
REFUSED = [
    ("max_tokens", error("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tok"
                         "ens' instead.", param="max_tokens", code="unsupported_parameter")),
    ("max_tokens", error("Please give max_completion_tokens instead.")),
    ("temperature", error("Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) "
                          "value is supported.", param="temperature", code="unsupported_value")),
    ("temperature", error("invalid temperature: only 1 is allowed for this model")),
    ("temperature", {"error": "Input validation error: `temperature` must be strictly positive", "error_type": "x"}),
    ("seed", {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not allowed"}]}),
    ("seed", {"message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs"}]}}),
    ("seed", [error('Invalid JSON payload received. Unknown name "seed": Cannot find field.', code=400)]),
    ("seed", error("Additional properties are not allowed ('seed' was unexpected)")),
    ("seed", error("No.", param="seed", code="unsupported_parameter")),
    (None, error("temperature must be at most 2")),
    (None, error("temperature: Input should be less than or equal to 1")),
    (None, error("Invalid 'max_tokens': integer above maximum value.")),
    (None, error("'max_tokens' is too large: 256. This model's maximum context length is 100 tokens.")),
    (None, error("logprobs are not supported")),
    (None, error("blocked by the content policy; the seed of evil is not allowed")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body"), REFUSED)
def test_a_parameter_that_a_server_does_not_take(name, body):
    assert refused_parameter(failure_in(body, 400), SENT) == name


def test_a_rate_is_no_refusal_of_a_parameter():
    assert refused_parameter(failure_in(error("seed: unexpected load"), 429), SENT) is None


NOW = 1_800_000_000
WAITS = [
    ({"retry-after": "7"}, 7),
    ({"retry-after": "0.5"}, 0.5),
    ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
    ({"retry-after": formatdate(NOW + 90, usegmt=True), "date": formatdate(NOW, usegmt=True)}, 90),
    ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT", "date": "Sunday, 06-Nov-94 08:49:30 GMT"}, 7),  # RFC 850's form
    ({"retry-after": "Sun Nov  6 08:49:37 1994", "date": "Sun, 06 Nov 1994 08:49:30 GMT"}, 7),  # C's form, always GMT
    ({"retry-after": formatdate(NOW - 5, usegmt=True), "date": formatdate(NOW, usegmt=True)}, 0),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "-3"}, None),
    ({"retry-after": "nan"}, None),
    ({"retry-after": "1e999"}, 1e9),
    ({"retry-after": "Sun, 06 Nov"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("headers", "seconds"), WAITS)
def test_how_long_a_server_asks_to_wait(headers, seconds):
    """The three forms of a date are those of RFC 9110, section 5.6.7."""
    assert failure_in("", 429, headers).wait == seconds


def test_a_date_without_the_servers_own_clock_counts_from_this_ones(monkeypatch):
    monkeypatch.setattr("time.time", lambda: NOW)
    assert failure_in("", 503, {"retry-after": formatdate(NOW + 30, usegmt=True)}).wait == 30


def test_a_delay_in_the_body():
    body = [error("Slower.", details=[{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}])]
    assert failure_in(body, 429).wait == 34.5


FIELDS = ("error", "message", "detail", "loc", "msg", "code", "status", "retryDelay", "input")
HEADERS = ("retry-after", "retry-after-ms", "date")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), inner),
    max_leaves=9,
)


@given(JSON | st.text(), st.integers(100, 599), st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=30)))
def test_whatever_a_server_says_has_a_kind_and_one_line_of_words(body, status, headers):
    failure = failure_in(body, status, headers)
    assert failure.kind
    assert 0 < len(failure.reason) <= LONGEST_REASON
    assert len(failure.reason.splitlines()) == 1
    assert failure.wait is None or failure.wait >= 0
