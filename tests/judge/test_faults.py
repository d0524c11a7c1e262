"""`ketchup judge` against a server that fails in every way it can: nothing is lost, nothing is counted twice."""

import json
import os
import signal
import threading
import time
from collections import Counter

import pytest

from ketchup.files import run_lock
from ketchup.remote import crowd
from tests.judge.given import invoke, prefers, result, verdict_rows, words, write_inputs
from tests.judge.mock_server import Answer, MockServer, refusal, storm

pytestmark = pytest.mark.usefixtures("short_waits")

REPLIES = {
    "id-0": Answer("Preferred: both"),
    "id-1": Answer("", "stop"),
    "id-2": Answer(None),
    "id-3": Answer("Overall quality: it goes on and", "length"),
    "id-4": refusal(400, "This model's maximum context length is 9 tokens."),
}


def test_nothing_is_lost_in_a_storm_and_nothing_is_counted_twice(tmp_path):
    write_inputs(tmp_path, items=15)
    with MockServer(storm).running() as server:
        done = invoke(*words(tmp_path, server.base_url, criteria=("overall", "coherence"), timeout=2))
    assert done.exit_code == 0, done.output
    keys = Counter(row["key"] for row in verdict_rows(tmp_path))
    assert len(keys) == 15 * 4 * 2
    assert set(keys.values()) == {1}
    assert sum(server.attempts.values()) > 1.5 * len(keys)
    assert sum(row["attempts"] > 1 for row in verdict_rows(tmp_path)) > 60
    for row in verdict_rows(tmp_path):
        assert row["preferred"] == row["reply"][-1]


def test_the_same_command_again_asks_nothing_and_says_the_same(tmp_path):
    write_inputs(tmp_path)
    with MockServer(storm).running() as server:
        arguments = words(tmp_path, server.base_url, timeout=2)
        first = invoke(*arguments, "--json")
        asked = sum(server.attempts.values())
        second = invoke(*arguments, "--json")
        assert sum(server.attempts.values()) == asked
    reparsed = invoke(*arguments, "--json", "--reparse")
    contents = [json.loads(done.stdout) for done in (first, second, reparsed)]
    for content in contents:
        del content["run"]
    assert contents[0] == contents[1] == contents[2]


def test_calls_that_fail_are_not_done_and_asked_again(tmp_path):
    write_inputs(tmp_path)
    broken = lambda prompt, attempt, body: refusal(500, "crash") if "id-3" in prompt else Answer()  # noqa: E731
    with MockServer(broken).running() as server:
        done = invoke(*words(tmp_path, server.base_url, attempts=3))
        assert done.exit_code == 3
        assert "20.0% of the votes are missing" in done.stderr
        assert "4 calls failed" in done.stderr
        assert set(server.attempts.values()) == {1, 3}
        assert len(verdict_rows(tmp_path)) == 16
        assert result(tmp_path)["comparisons"][0]["counts"]["missing"] == 4
        assert not result(tmp_path)["complete"]
        server.answer = prefers("A")
        assert invoke(*words(tmp_path, server.base_url)).exit_code == 0
    assert len(verdict_rows(tmp_path)) == 20


def test_replies_without_a_choice_are_told_apart_and_never_votes(tmp_path):
    write_inputs(tmp_path, items=6)

    def answer(prompt, attempt, body):
        return next((REPLIES[id] for id in REPLIES if f"{id}:" in prompt), Answer())

    with MockServer(answer).running() as server:
        arguments = words(tmp_path, server.base_url)
        done = invoke(*arguments)
        if "No reply about the first item" in done.stderr:
            assert done.exit_code == 1
            done = invoke(*arguments)
        assert done.exit_code == 3, done.output
        counts = result(tmp_path)["comparisons"][0]["counts"]
        expected = {"parsed": 4, "unparsed": 4, "empty": 8, "cut": 4, "too_long": 4, "missing": 0, "votes": 24}
        assert {name: counts[name] for name in expected} == expected
        assert set(server.attempts.values()) == {1}
        invoke(*arguments)
        assert set(server.attempts.values()) == {1}
        server.answer = prefers("B")
        assert invoke(*arguments, "--retry-unparsed").exit_code == 0
        assert {body["seed"] for body in server.bodies[-20:]} == {1}
    assert result(tmp_path)["comparisons"][0]["counts"]["parsed"] == 24
    assert len(verdict_rows(tmp_path)) == 24 + 20


def test_a_first_item_without_any_choice_stops_the_run(tmp_path):
    write_inputs(tmp_path)
    with MockServer(lambda *_: Answer("I like both.")).running() as server:
        done = invoke(*words(tmp_path, server.base_url))
        assert done.exit_code == 1
        assert "No reply about the first item says which output it prefers" in done.stderr
        assert "I like both." in done.stderr
        assert sum(server.attempts.values()) == 4


@pytest.mark.parametrize(
    ("options", "answer", "named"),
    [
        ({"model": "other"}, None, ["has no model 'other'", "--model"]),
        ({}, refusal(401, "bad key"), ["refuses the key", "OPENAI_API_KEY"]),
        ({}, refusal(400, "top_logprobs must be at most 5"), ["top_logprobs must be at most 5"]),
        ({}, refusal(500, "crash"), ["All calls about the first 5 items failed", "crash"]),
    ],
)
def test_what_no_call_can_escape_ends_the_run_at_once(tmp_path, options, answer, named):
    write_inputs(tmp_path)
    with MockServer(lambda *_: answer).running() as server:
        done = invoke(*words(tmp_path, server.base_url, **{"attempts": 2} | options))
    assert done.exit_code == 1
    for text in named:
        assert text in done.stderr
    said = [line for line in done.stderr.strip().splitlines() if not line.startswith("judge: ")]  # how far it came
    assert len(said) == 1


def test_a_server_that_is_gone(tmp_path):
    write_inputs(tmp_path)
    done = invoke(*words(tmp_path, "http://127.0.0.1:9/v1", attempts=2))
    assert done.exit_code == 1
    assert "cannot be reached" in done.stderr
    assert "0 verdicts are stored" in done.stderr


def test_an_interrupt_keeps_what_is_in_flight_and_names_the_command(tmp_path, monkeypatch):
    write_inputs(tmp_path, items=30)
    monkeypatch.setattr(crowd, "GRACE", 20.0)
    monkeypatch.setattr("sys.argv", ["ketchup", "judge", "--a", "one"])

    def answer(prompt, attempt, body):
        if sum(server.attempts.values()) == 20:
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        return Answer(delay=0.3)

    server = MockServer(answer)
    with server.running():
        arguments = words(tmp_path, server.base_url, concurrency=8)
        started = time.monotonic()
        done = invoke(*arguments)
        assert done.exit_code == 130
        assert time.monotonic() - started < 20
        assert "continue with: ketchup judge --a one" in done.stderr
        stored = len(verdict_rows(tmp_path))
        assert stored == sum(server.served.values()) < 120
        server.answer = prefers("A")
        assert invoke(*arguments).exit_code == 0
    assert len({row["key"] for row in verdict_rows(tmp_path)}) == len(verdict_rows(tmp_path)) == 120


def test_no_more_calls_are_in_flight_than_allowed_and_not_fewer(tmp_path):
    write_inputs(tmp_path, items=10)
    with MockServer(lambda *_: Answer(delay=0.05)).running() as server:
        invoke(*words(tmp_path, server.base_url, concurrency=7))
    assert server.most_in_flight == 7


def test_a_torn_line_is_asked_again(tmp_path, caplog):
    write_inputs(tmp_path)
    with MockServer().running() as server:
        invoke(*words(tmp_path, server.base_url))
        store = tmp_path / "runs/judge/verdicts.jsonl"
        store.write_bytes(store.read_bytes()[:-30])
        assert invoke(*words(tmp_path, server.base_url)).exit_code == 0
        assert sum(server.attempts.values()) == 21
    assert "a torn last line is dropped" in caplog.text
    assert len(verdict_rows(tmp_path)) == 20


def test_two_runs_cannot_write_at_once(tmp_path):
    write_inputs(tmp_path)
    with run_lock(tmp_path / "runs/judge"):
        done = invoke(*words(tmp_path, "http://127.0.0.1:9/v1"))
    assert done.exit_code == 1
    assert "is in use by process" in done.stderr
