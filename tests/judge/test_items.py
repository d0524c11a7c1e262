"""One item's fault is not the server's: refused items are counted and named, all others are asked."""

import pytest

from ketchup_eval.judge.protocol import sample_ids
from tests.judge.given import invoke, prefers, result, verdict_rows, words, write_inputs
from tests.judge.mock_server import Answer, MockServer, refusal

pytestmark = pytest.mark.usefixtures("short_waits")
ITEMS = 5
REFUSALS = {
    "a filter": (refusal(400, "blocked by content policy"), "refused"),
    "a moderator": (refusal(403, "Your input was flagged"), "refused"),
    "a ban in unknown words": (refusal(403, "Nope."), "refused"),
    "unknown words": (refusal(400, "Nope."), "refused"),
    "an unknown status": (refusal(418, "Nope."), "refused"),
    "details": (Answer(status=422, raw=b'{"detail": [{"loc": ["body"], "msg": "Nope."}]}'), "refused"),
    "no words": (Answer(status=400, raw=b""), "refused"),
    "a key, it says": (refusal(401, "Nope."), "refused"),
    "a proxy's limit": (Answer(status=413, raw=b"<html>Too Large</html>"), "too_long"),
    "llama.cpp's limit": (refusal(500, "Context size has been exceeded."), "too_long"),
    "an error as a success": (Answer(raw=b'{"error": {"message": "prompt is too long"}}'), "too_long"),
}


IN_ORDER = sample_ids([f"id-{n}" for n in range(ITEMS)], None, 0)


def only(item, answer):
    return MockServer(lambda prompt, attempt, body: answer if f"{item}:" in prompt else Answer()).running()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        *((name, 2) for name in REFUSALS),
        *((name, place) for name in ("a filter", "unknown words") for place in (0, -1)),
    ],
)
def test_a_refused_item_is_counted_and_named_and_all_others_are_asked(tmp_path, name, place):
    refused, state = REFUSALS[name]
    write_inputs(tmp_path, items=ITEMS)
    item = IN_ORDER[place]
    with only(item, refused) as server:
        done = invoke(*words(tmp_path, server.base_url, concurrency=2))
        assert done.exit_code == 3, done.output
        counts = result(tmp_path)["comparisons"][0]["counts"]
        expected = {"parsed": 4 * (ITEMS - 1), state: 4, "missing": 0}
        assert {name: counts[name] for name in expected} == expected
        assert f"The server refused 4 calls about item {item}: " in done.stderr
        assert "Nope" in done.stderr or "Nope" not in str(refused)
        assert [row["item"] for row in result(tmp_path)["refusals"]] == [item]
        asked = sum(server.attempts.values())
        assert asked <= 4 * ITEMS + 1, "one call may find out whose fault the last refusals were"
        again = invoke(*words(tmp_path, server.base_url))
        assert again.exit_code == 3
        assert f"item {item}: " in again.stderr
        assert sum(server.attempts.values()) == asked
        server.answer = prefers("B")
        assert invoke(*words(tmp_path, server.base_url, retry_unparsed=True)).exit_code == 0


@pytest.mark.parametrize(
    "broken", [Answer(hang_up=True), refusal(500, "crash"), Answer(finish_reason="content_filter")]
)
@pytest.mark.parametrize("place", [0, 2])
def test_an_item_that_fails_at_every_try_is_missing_and_all_others_are_asked(tmp_path, broken, place):
    write_inputs(tmp_path, items=ITEMS)
    item = IN_ORDER[place]
    with only(item, broken) as server:
        done = invoke(*words(tmp_path, server.base_url, attempts=2))
        assert done.exit_code == 3, done.output
        assert f"4 calls failed (item {item}): " in done.stderr
        assert result(tmp_path)["comparisons"][0]["counts"]["missing"] == 4
        assert len(verdict_rows(tmp_path)) == 4 * (ITEMS - 1)
        server.answer = prefers("A")
        assert invoke(*words(tmp_path, server.base_url)).exit_code == 0


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (refusal(400, "logprobs not supported"), "(400: logprobs not supported); leave --logprobs out"),
        (refusal(400, "blocked by content policy"), "refuses all calls about the first 5 items (400: blocked"),
        (refusal(413, "too long"), "refuses all calls about the first 5 items (413: too long"),
        (refusal(403, "no"), "refuses the key (403: no)"),
        (refusal(401, "no"), "refuses the key (401: no)"),
        (refusal(404, "no"), "has no model"),
        (refusal(503, "no"), "All calls about the first 5 items failed (503: no)"),
        (Answer(hang_up=True), "All calls about the first 5 items failed (Connection error"),
        (refusal(429, "no", **{"Retry-After": "3600"}), "the server asks to wait 1:00:00 (429: no)"),
    ],
)
def test_nothing_but_refusals_stops_the_run_and_stores_nothing(tmp_path, answer, named):
    write_inputs(tmp_path, items=ITEMS)
    with MockServer(lambda *_: answer).running() as server:
        for _ in range(2):
            done = invoke(*words(tmp_path, server.base_url, attempts=1))
            assert done.exit_code == 1
            assert named in done.stderr
        server.answer = prefers("A")
        assert invoke(*words(tmp_path, server.base_url)).exit_code == 0


@pytest.mark.parametrize(
    "answer", [refusal(401, "revoked"), refusal(404, "gone"), refusal(400, "No."), refusal(503, "No.")]
)
def test_a_server_that_fails_in_the_middle_stops_the_run_soon_and_no_item_is_blamed(tmp_path, answer):
    write_inputs(tmp_path, items=40)
    good = 41
    with MockServer(lambda *_: Answer() if sum(server.attempts.values()) <= good else answer).running() as server:
        arguments = words(tmp_path, server.base_url, attempts=1, concurrency=8)
        done = invoke(*arguments)
        assert done.exit_code == 1, done.output
        assert answer.error["message"].rstrip(".") in done.stderr
        assert good + 16 < sum(server.attempts.values()) < good + 16 + 20
        assert len(verdict_rows(tmp_path)) == good
        again = invoke(*arguments)
        assert again.exit_code == 1
        assert len(verdict_rows(tmp_path)) == good
        server.answer = prefers("A")
        assert invoke(*arguments).exit_code == 0
    assert len({row["key"] for row in verdict_rows(tmp_path)}) == 160


def test_a_key_that_is_revoked_at_the_very_end_blames_no_item(tmp_path):
    write_inputs(tmp_path, items=5)
    with MockServer(
        lambda *_: Answer() if sum(server.attempts.values()) <= 17 else refusal(401, "no")
    ).running() as server:
        done = invoke(*words(tmp_path, server.base_url, concurrency=1))
    assert done.exit_code == 1
    assert "refuses the key" in done.stderr
    assert len(verdict_rows(tmp_path)) == 17


def test_credit_that_is_used_up_stops_the_run_at_once(tmp_path):
    used_up = Answer(status=429, error={"message": "No.", "type": "insufficient_quota", "code": "insufficient_quota"})
    write_inputs(tmp_path, items=20)
    with MockServer(lambda *_: Answer() if sum(server.attempts.values()) <= 24 else used_up).running() as server:
        done = invoke(*words(tmp_path, server.base_url, concurrency=4))
    assert done.exit_code == 1
    assert "says that credit is used up (429: No)" in done.stderr
    assert sum(server.attempts.values()) <= 24 + 4


def test_many_reasons_are_few_lines(tmp_path):
    write_inputs(tmp_path, items=12)

    def answer(prompt, attempt, body):
        number = int(prompt.split("id-")[1].split(":")[0])
        return refusal(413, f"{number} is too many") if number else Answer()

    with MockServer(answer).running() as server:
        done = invoke(*words(tmp_path, server.base_url))
    assert done.exit_code == 3
    assert "... and 6 more such lines" in done.stderr
    assert len(result(tmp_path)["refusals"]) == 11
