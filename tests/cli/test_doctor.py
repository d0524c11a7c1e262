"""`ketchup doctor --judge`: a sentence for each thing that is wrong with a server."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from ketchup_eval.cli import app
from ketchup_eval.judge import health
from tests.judge.mock_server import MODEL, Answer, MockServer, refusal
from tests.remote.raw_server import raw_server


def doctor(server, model=MODEL):
    return CliRunner().invoke(app, ["doctor", "--judge", "--model", model, "--base-url", server.base_url])


def healthy(prompt, attempt, body):
    return Answer("zebra") if "structured_outputs" in body else Answer("Why: so.\nPreferred: A")


def test_a_server_that_has_everything():
    with MockServer(healthy).running() as server:
        done = doctor(server)
    assert done.exit_code == 0, done.output
    names = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert names == [f"ok   {name}" for name in ("server", "model", "context", "reply", "logprobs", "constrained")]


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (lambda prompt, attempt, body: Answer("Both are fine."), "no choice (unparsed: 'Both are fine.')"),
        (lambda prompt, attempt, body: refusal(500, "engine crashed"), "engine crashed"),
        (lambda prompt, attempt, body: refusal(401, "bad key"), "OPENAI_API_KEY"),
        (lambda prompt, attempt, body: Answer(raw=b"<html>Sign in</html>"), "A call failed"),
        (lambda prompt, attempt, body: Answer(raw=b'{"error": {"message": "no credit"}}'), "credit is used up"),
    ],
)
def test_a_server_that_cannot_judge(answer, named):
    with MockServer(answer).running() as server:
        done = doctor(server)
    assert done.exit_code == 1, done.output
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL reply: ")]
    assert named in line
    assert [line[:12] for line in done.stdout.splitlines()[:2]] == ["ok   server:", "ok   model: "]


def without_logprobs(prompt, attempt, body):
    return refusal(400, "logprobs not supported") if body.get("logprobs") else healthy(prompt, attempt, body)


def without_constraints(prompt, attempt, body):
    return refusal(400, "no such field") if "structured_outputs" in body else healthy(prompt, attempt, body)


@pytest.mark.parametrize(
    ("answer", "failed", "named"),
    [
        (without_logprobs, "logprobs", "logprobs not supported"),
        (without_constraints, "constrained", "refused (400: no such field)"),
        (lambda *_: Answer("Why: so.\nPreferred: A"), "constrained", "ignores structured_outputs"),
    ],
)
def test_a_server_without_an_extra_judges_well(answer, failed, named):
    with MockServer(answer).running() as server:
        done = doctor(server)
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL ")]
    assert line.startswith(f"FAIL {failed}: ")
    assert named in line
    assert f"leave --{failed} out" in line
    assert "ok   reply: A reply prefers A, the right one" in done.stdout


MODELS = {"data": [{"id": MODEL}]}


@pytest.mark.parametrize(
    ("listing", "said"),
    [
        (
            refusal(404, "no such path"),
            "ok   model: The server does not list its models (404: no",
        ),
        (refusal(403, "missing scope"), "ok   model: The server does not list its models (403"),
        (
            Answer(raw=b"<html>Sign in</html>"),
            "FAIL model: The server's list of models cannot be read ('<html>Sign",
        ),
        (Answer(raw=b'{"data": null}'), "FAIL model: The server's list of models cannot be read"),
        (Answer(raw=b'{"data": ["x"]}'), "FAIL model: The server's list of models cannot be read"),
        (Answer(raw=json.dumps(MODELS["data"]).encode()), f"ok   model: The server has {MODEL}."),
        (Answer(raw=json.dumps({"data": [{"name": MODEL}]}).encode()), f"ok   model: The server has {MODEL}."),
        (Answer(raw=b'{"data": []}'), f"ok   model: The server has {MODEL}, which it does not list."),
    ],
)
def test_a_list_of_models_is_no_judge(listing, said):
    with MockServer(healthy).running() as server:
        server.listing = listing
        done = doctor(server)
    assert done.exit_code == 0, done.output
    assert said in done.stdout
    assert "ok   reply: A reply prefers A, the right one" in done.stdout


def test_a_key_that_is_wrong_for_the_list_too():
    with MockServer(lambda *_: refusal(401, "bad key")).running() as server:
        server.listing = refusal(401, "bad key")
        done = doctor(server)
    assert done.exit_code == 1
    assert "OPENAI_API_KEY" in done.stdout
    assert "start it" not in done.stdout


def test_of_many_models_the_closest_are_named():
    with MockServer(healthy).running() as server:
        rows = [{"id": f"model-{n}"} for n in range(300)] + [{"id": "judge-72b-instruct"}]
        server.listing = Answer(raw=json.dumps({"data": rows}).encode())
        done = doctor(server, "judge-72b")
    assert done.exit_code == 1
    assert "no model 'judge-72b'; name one of its own with --model: judge-72b-instruct, " in done.stdout
    assert "and 291 more." in done.stdout


def test_a_context_that_is_short():
    with MockServer(healthy).running() as server:
        server.max_model_len = 2048
        done = doctor(server)
    assert done.exit_code == 1
    assert "FAIL context: Prompts may have 2,048 tokens" in done.stdout


def test_a_model_that_the_server_lacks():
    with MockServer(healthy).running() as server:
        done = doctor(server, "other")
    assert done.exit_code == 1
    assert f"FAIL model: The server has no model 'other'; name one of its own with --model: {MODEL}." in done.stdout


def test_a_server_that_is_not_there():
    server = MockServer()
    server.port = 9
    done = doctor(server)
    assert done.exit_code == 1
    assert done.stdout.startswith("FAIL server: http://127.0.0.1:9/v1 cannot be reached (Connection error: ")
    assert "start it or name another --base-url" in done.stdout


@pytest.mark.parametrize(
    ("proxy", "named"),
    [
        ("http://me:hunter22@127.0.0.1:9", "cannot be reached through the proxy http://***@127.0.0.1:9"),
        ("socks5://me:hunter22@127.0.0.1:9", "pip install socksio"),
    ],
)
def test_a_proxy_in_the_way(monkeypatch, proxy, named):
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("no_proxy", "localhost")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    words = ["doctor", "--judge", "--model", MODEL, "--base-url", "http://example.invalid/v1"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert done.stdout.startswith("FAIL server: ")
    assert named in done.stdout
    assert "hunter22" not in done.output


def test_without_a_part_to_check():
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 2
    assert "--judge" in done.stderr


def test_a_list_of_models_that_drips_is_not_waited_for(monkeypatch):
    async def handle(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while head:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    monkeypatch.setattr(health, "LONGEST_TRY", 0.3)
    with raw_server(handle) as url:
        done = CliRunner().invoke(app, ["doctor", "--judge", "--model", MODEL, "--base-url", url])
    assert "did not list its models within 0.3 s" in done.stdout
    assert "FAIL reply: A call failed (there was no whole reply within 0.3 s)" in done.stdout
