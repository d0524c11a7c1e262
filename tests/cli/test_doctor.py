"""`ketchup doctor --judge`: a sentence for each thing that is wrong with a server."""

import pytest
from typer.testing import CliRunner

from ketchup_eval.cli import app
from tests.judge.mock_server import MODEL, Answer, MockServer, refusal


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
    ("answer", "failed", "named"),
    [
        (lambda prompt, attempt, body: Answer("Why: so.\nPreferred: A"), "constrained", "ignores structured_outputs"),
        (lambda prompt, attempt, body: Answer("Both are fine."), "reply", "no choice (unparsed: 'Both are fine.')"),
        (lambda prompt, attempt, body: refusal(500, "engine crashed"), "reply", "engine crashed"),
    ],
)
def test_what_is_wrong_is_said(answer, failed, named):
    with MockServer(answer).running() as server:
        done = doctor(server)
    assert done.exit_code == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"FAIL {failed}: ")]
    assert named in line


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
    assert done.stdout.startswith("FAIL server: http://127.0.0.1:9/v1 does not answer")


def test_without_a_part_to_check():
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 2
    assert "--judge" in done.stderr
