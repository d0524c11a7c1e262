"""Parameters that a server does not take are found out on the trial item, and named in the signature."""

import pytest

from tests.judge.given import invoke, result, verdict_rows, words, write_inputs
from tests.judge.mock_server import Answer, MockServer, refusal

pytestmark = pytest.mark.usefixtures("short_waits")


def server_that_refuses(*names):
    def answer(prompt, attempt, body):
        refused = [name for name in names if name in body]
        if refused:
            message = f"Unsupported parameter: '{refused[0]}' is not supported with this model."
            return Answer(status=400, error={"message": message, "param": refused[0], "code": "unsupported_parameter"})
        return Answer("Preferred: B")

    return MockServer(answer)


@pytest.mark.parametrize(
    ("refused", "sent", "absent", "signed"),
    [
        (["max_tokens"], ["max_completion_tokens"], ["max_tokens"], "|adapted:max_tokens=max_completion_tokens|"),
        (
            ["temperature"],
            ["max_tokens", "seed"],
            ["temperature"],
            "|temp:default|max_tokens:256|adapted:temperature=none|",
        ),
        (["seed"], ["max_tokens", "temperature"], ["seed"], "|temp:0|max_tokens:256|adapted:seed=none|"),
        (
            ["seed", "temperature", "max_tokens"],
            ["max_completion_tokens"],
            ["max_tokens", "temperature", "seed"],
            "|adapted:max_tokens=max_completion_tokens,seed=none,temperature=none|",
        ),
        (
            ["max_tokens", "max_completion_tokens"],
            ["seed", "temperature"],
            ["max_tokens", "max_completion_tokens"],
            "|adapted:max_completion_tokens=none,max_tokens=max_completion_tokens|",
        ),
    ],
)
def test_what_a_server_does_not_take_is_left_out_or_renamed(tmp_path, refused, sent, absent, signed):
    write_inputs(tmp_path)
    with server_that_refuses(*refused).running() as server:
        done = invoke(*words(tmp_path, server.base_url))
        assert done.exit_code == 0, done.output
        negotiated = len(server.bodies) - 20
        assert 0 < negotiated <= 4 * len(refused)
        for body in server.bodies[4 + negotiated :]:
            assert not set(absent) & body.keys()
            assert set(sent) <= body.keys()
        assert signed in result(tmp_path)["comparisons"][0]["signature"]
        (tmp_path / "runs/judge/verdicts.jsonl").write_text(
            "".join((tmp_path / "runs/judge/verdicts.jsonl").read_text().splitlines(keepends=True)[:6])
        )
        before = len(server.bodies)
        assert invoke(*words(tmp_path, server.base_url)).exit_code == 0
        assert len(server.bodies) == before + 14, "a run that goes on knows what the server takes"
    assert signed in result(tmp_path)["comparisons"][0]["signature"]
    assert len(verdict_rows(tmp_path)) == 20


def test_the_other_name_holds_the_same_limit(tmp_path):
    write_inputs(tmp_path, items=1)
    with server_that_refuses("max_tokens").running() as server:
        invoke(*words(tmp_path, server.base_url, max_tokens=77))
    assert {body["max_completion_tokens"] for body in server.bodies[4:]} == {77}


def test_a_notice_says_so_once(tmp_path, caplog):
    write_inputs(tmp_path)
    with server_that_refuses("seed").running() as server:
        invoke(*words(tmp_path, server.base_url))
    assert [record.message for record in caplog.records if "seed" in record.message] == [
        f"{server.base_url} takes no seed; its own default counts instead."
    ]


def test_a_server_that_takes_all_is_asked_as_before_and_signed_as_before(tmp_path):
    write_inputs(tmp_path)
    with MockServer().running() as server:
        invoke(*words(tmp_path, server.base_url))
    assert "|temp:0|max_tokens:256|constrained:no|" in result(tmp_path)["comparisons"][0]["signature"]
    assert len(server.bodies) == 20


@pytest.mark.parametrize("message", ["temperature must be at most 2", "'max_tokens' is above the maximum value"])
def test_a_value_that_a_server_does_not_take_is_the_users_to_mend(tmp_path, message):
    write_inputs(tmp_path)
    with MockServer(lambda *_: refusal(400, message)).running() as server:
        done = invoke(*words(tmp_path, server.base_url, temperature=3))
    assert done.exit_code == 1
    assert message in done.stderr
    assert "change --" in done.stderr


def test_words_about_a_parameter_after_the_first_reply_are_an_items_own(tmp_path):
    """All verdicts of a run come about alike."""
    write_inputs(tmp_path)

    def answer(prompt, attempt, body):
        odd = sum(server.attempts.values()) > 4 and "id-0:" in prompt
        return refusal(400, "seed is not supported") if odd else Answer()

    with MockServer(answer).running() as server:
        done = invoke(*words(tmp_path, server.base_url, concurrency=1))
    assert done.exit_code in (0, 3)  # 0 where id-0 is the trial item
    assert all("seed" in body for body in server.bodies)
