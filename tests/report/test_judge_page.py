"""The audit page: it shows every verdict, filters them, and never runs what a text contains."""

import json
import random
import re
import time

from ketchup.tasks.base import Input
from ketchup_eval.judge import plan as plan_module
from ketchup_eval.judge.judge_settings import JudgeSettings, ReplySettings
from ketchup_eval.judge.plan import make_plan
from ketchup_eval.judge.results import judge_result
from ketchup_eval.judge.verdicts import Verdict, VerdictStore
from ketchup_eval.report.judge_page import write_judge_page
from tests.judge.given import write_jsonl
from tests.report.browsing import opened

HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'><!--<script>"
    "&lt;b&gt; {{ 7 * 7 }} \u2028 \ud83d"
)
CRITERIA = ("overall", "informativeness", "coherence")


def write_page(folder, monkeypatch, items, *, hostile=False):
    """Item 0: four votes for a; 1: always "A"; 2: one unparsed; 3: a far longer; others by chance."""
    ids = [f"id-{n}" for n in range(items)]
    source = "The bridge is closed. " * 40
    rows = [Input(id, (HOSTILE if hostile else "") + source, "Closed.") for id in ids]
    monkeypatch.setattr(plan_module, "find_inputs", lambda *_: rows)
    for system in "ab":
        long = {3: " And more." * 20} if system == "a" else {}
        texts = [f"Summary {n:03} by {system}.{long.get(n, '')}" for n in range(items)]
        outputs = [{"id": id, "prediction": text} for id, text in zip(ids, texts, strict=True)]
        write_jsonl(folder / f"{system}.jsonl", outputs)
    a, b = str(folder / "a.jsonl"), str(folder / "b.jsonl")
    name = HOSTILE[:-1] if hostile else "mock"
    plan = make_plan(
        JudgeSettings((a,), b, "xsum", "test", CRITERIA, ReplySettings(name), limit=None, resamples=20), folder
    )
    store, generator = VerdictStore(folder / "judge"), random.Random(0)
    for call in plan.calls:
        number = int(call.question.pair.item.split("-")[1])
        for_a = "A" if call.question.vote("A") == 1 else "B"
        choice = {0: for_a, 1: "A", 2: "both" if call.question.variant == 3 else for_a, 3: for_a}
        reply = f"{HOSTILE if hostile else 'So.'}\nPreferred: {choice.get(number, generator.choice('AB'))}"
        store._take(Verdict(call.key, reply))
    return write_judge_page(judge_result(plan, store), store, folder / "judge")


def test_the_page_needs_nothing_else_and_texts_cannot_leave_their_place(tmp_path, monkeypatch):
    page = write_page(tmp_path, monkeypatch, 5, hostile=True).read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page
    (data,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    content = json.loads(data)
    assert content["rows"][0]["replies"][0].startswith(HOSTILE[:-1])
    assert len(content["rows"]) == 15


def test_filters_search_and_keys(tmp_path, monkeypatch, browser):
    page, faults = opened(browser, write_page(tmp_path, monkeypatch, 12))
    assert page.text_content("#count") == "36 of 36"
    page.select_option("#criterion", "overall")
    assert page.text_content("#count") == "12 of 36"
    for mark, item in (("unparsed", "id-2"), ("length gap", "id-3")):
        page.check(f"input[value='{mark}']")
        assert page.text_content("#count") == "1 of 36"
        assert item in page.text_content("#detail")
        page.uncheck(f"input[value='{mark}']")
    page.check("input[value=biased]")
    assert "id-1 " in page.inner_text("#list")
    assert "id-0 " not in page.inner_text("#list")
    page.uncheck("input[value=biased]")
    first = page.text_content("#detail")
    page.keyboard.press("j")
    assert page.text_content("#detail") != first
    page.keyboard.press("k")
    assert page.text_content("#detail") == first
    page.keyboard.press("/")
    page.keyboard.type("id-7")
    assert page.text_content("#count") == "1 of 36"
    page.fill("#search", "no such text")
    assert page.text_content("#detail") == "No item fits."
    assert faults == []


def test_four_verdicts_side_by_side(tmp_path, monkeypatch, browser):
    page, faults = opened(browser, write_page(tmp_path, monkeypatch, 4))
    page.fill("#search", "id-1")
    boxes = page.locator(".four > div").all_text_contents()
    assert len(boxes) == 4
    assert [re.search("prefers (.)", box)[1] for box in boxes] == ["a", "b", "a", "b"]
    assert all("Preferred: A" in box for box in boxes)
    page.fill("#search", "id-2")
    assert "unparsed" in page.locator(".four > div").all_text_contents()[3]
    assert faults == []


def test_hostile_texts_are_shown_and_never_run(tmp_path, monkeypatch, browser):
    page, faults = opened(browser, write_page(tmp_path, monkeypatch, 5, hostile=True))
    for _ in range(15):
        page.keyboard.press("j")
    assert page.evaluate("window.hacked") is None
    assert "</script><script>window.hacked = 1</script>" in page.text_content("#detail")
    assert "{{ 7 * 7 }}" in page.text_content("#detail")
    assert faults == []


def test_500_items_by_3_criteria_open_and_filter_without_lag(tmp_path, monkeypatch, browser):
    path = write_page(tmp_path, monkeypatch, 500)
    start = time.monotonic()
    page, faults = opened(browser, path)
    assert page.text_content("#count") == "1500 of 1500"
    assert time.monotonic() - start < 20  # a hang, on any machine; it takes about a second
    page.check("input[value=inconsistent]")
    assert page.text_content("#count") != "1500 of 1500"
    assert faults == []
