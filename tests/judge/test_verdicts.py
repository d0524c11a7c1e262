"""The store: what a reply becomes, which of several counts, and what a kill leaves."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketchup.errors import RunError
from ketchup.files import write_jsonl
from ketchup_eval.judge.verdicts import Verdict, VerdictStore


@pytest.mark.parametrize(
    ("reply", "finish", "too_long", "state"),
    [
        ("Preferred: A", "stop", False, "parsed"),
        ("Preferred: A\n", "length", False, "cut"),
        ("Preferred: A\nBut wait", "length", False, "cut"),
        ("Preferred: A", "max_tokens", False, "cut"),
        ("Preferred: A<|eot_id|>\nWhat", "length", False, "parsed"),
        ("Preferred: A", "length", False, "cut"),
        ("So", "length", False, "cut"),
        ("", "length", False, "cut"),
        ("Preferred: A\nThat's all.", "stop", False, "parsed"),
        ("Preferred: A\nBut wait", None, False, "unparsed"),
        ("Preferred: A\nBut wait", "who knows", False, "unparsed"),
        ("So\nPreferred: A \n", None, False, "parsed"),
        ("Preferred: A</s>\nWhat", None, False, "parsed"),
        ("Both", "stop", False, "unparsed"),
        (" \n", "stop", False, "empty"),
        ("Preferred: A", None, True, "too_long"),
    ],
)
def test_a_reply_is_in_one_state(reply, finish, too_long, state):
    verdict = Verdict("k", reply, finish, too_long)
    assert verdict.state == state
    assert (verdict.preferred is not None) == (state == "parsed")


def test_a_refusal_is_no_reply_whatever_its_words():
    verdict = Verdict("k", "Preferred: A", refused=True)
    assert verdict.state == "refused"
    assert verdict.preferred is None


@pytest.mark.parametrize("finish", ["error", "content_filter", "content_filter: SAFETY", "FinishReason.RECITATION"])
def test_a_stored_reply_that_a_fault_ended_is_none(tmp_path, finish):
    """Earlier versions stored such replies."""
    VerdictStore(tmp_path).add(Verdict("x", "Preferred: A", finish), {})
    assert VerdictStore(tmp_path).verdicts == {}


@given(st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from(["A", "B", "both"]))))
def test_the_last_parsed_reply_of_a_key_counts(tmp_path_factory, replies):
    folder = tmp_path_factory.mktemp("store")
    store = VerdictStore(folder)
    expected = {}
    for key, choice in replies:
        store.add(Verdict(key, f"Preferred: {choice}"), {})
        if choice != "both" or expected.get(key, "both") == "both":
            expected[key] = choice
    for read in (store, VerdictStore(folder)):
        assert {key: verdict.reply[11:] for key, verdict in read.verdicts.items()} == expected
        assert sum(read.replies.values()) == len(replies)


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_line_is_dropped_and_written_anew(tmp_path, caplog, cut):
    store = VerdictStore(tmp_path)
    for key in "xyz":
        store.add(Verdict(key, "Preferred: A \ud83d"), {"item": "1"})
    store.path.write_bytes(store.path.read_bytes()[:-cut])
    again = VerdictStore(tmp_path)
    assert set(again.verdicts) == {"x", "y"}
    assert "torn last line is dropped" in caplog.text
    again.add(Verdict("z", "Preferred: B"), {})
    assert [json.loads(line)["key"] for line in store.path.read_text().splitlines()] == ["x", "y", "z"]
    assert VerdictStore(tmp_path).verdicts["z"].preferred == "B"


@pytest.mark.parametrize("line", ['{"reply": "A"}', '{"key": "x"}', '{"key": 3, "reply": "A"}', "{"])
def test_a_line_that_is_no_verdict_is_named(tmp_path, line):
    VerdictStore(tmp_path).add(Verdict("x", "Preferred: A"), {})
    path = tmp_path / "verdicts.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(RunError, match=r"verdicts.jsonl line 2 is"):
        VerdictStore(tmp_path)


def test_every_field_survives(tmp_path):
    verdict = Verdict(
        "x", "Preferred: A", "stop", False, {"prompt": 3, "cached": None}, 0.25, 2, "judge", 0.75, False, {"seed": None}
    )
    VerdictStore(tmp_path).add(verdict, {"item": "1", "criterion": "overall"})
    assert VerdictStore(tmp_path).verdicts["x"] == verdict
    row = json.loads((tmp_path / "verdicts.jsonl").read_text())
    assert (row["item"], row["preferred"]) == ("1", "A")


@pytest.mark.parametrize(
    "wrong", [{"reply": None}, {"finish_reason": []}, {"too_long": "no"}, {"probability_of_a": "0.5"}, {"key": 1}]
)
def test_a_row_of_other_kinds_is_named(tmp_path, wrong):
    row = {"key": "k", "reply": "r", "finish_reason": None, "probability_of_a": 0.5}
    write_jsonl(tmp_path / "verdicts.jsonl", [row, {**row, **wrong}])
    with pytest.raises(RunError, match=rf'line 2 is no verdict, as "{next(iter(wrong))}" is .*; remove that line'):
        VerdictStore(tmp_path)
