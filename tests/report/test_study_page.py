"""The page of a study in a browser: numbers where one points, what is behind them, and texts that stay texts."""

import json
import math
import re
import time
from urllib.parse import unquote

import pytest

from ketchup_eval.report.study.page import write_study_page
from ketchup_eval.study.claims import judge_claims
from tests.report.browsing import opened
from tests.report.studies import command, study, training, whole, write_runs

HOSTILE = "x<img src=y onerror='window.hacked = 2'><!--<script>&lt;b&gt; {{ 7 * 7 }} \"'`${1}"
WITH_SLASH = f"</script><script>window.hacked = 1</script>{HOSTILE}"


def written(content, folder):
    return write_study_page(folder, content, judge_claims(content))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    content = whole()
    write_runs(content, folder)
    return written(content, folder), content


def places(page, panel):
    """Where the marks of a panel's first line are on the screen."""
    return page.evaluate(
        """(panel) => {
            const svg = document.querySelectorAll(".panel svg")[panel], place = svg.getBoundingClientRect();
            const lines = [...svg.querySelectorAll("path[fill=none]")].map((path) => path.getAttribute("d"));
            const pairs = lines.find((line) => line.includes("L")).match(/[\\d.]+ [\\d.]+/g);
            return pairs.map((pair) => pair.split(" ").map(Number)).map(([x, y]) => [place.left + x, place.top + y]);
        }""",
        panel,
    )


def pointed(page, panel, mark):
    page.locator(".panel svg").nth(panel).scroll_into_view_if_needed()
    page.mouse.move(*places(page, panel)[mark])
    return page.text_content("#tip")


def test_the_page_needs_nothing_else_and_has_the_content_of_study_json(tmp_path):
    content = whole(arms=("llmr", HOSTILE, "k4"), name=WITH_SLASH)
    page = written(content, tmp_path).read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page
    (data,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data)["study"] == content
    assert "Content-Security-Policy" in page


def test_pointing_at_a_mark_shows_its_numbers(finished, browser):
    page, faults = opened(browser, finished[0])
    # llmr on near, step 16: the mean of 4 - 1/5 and 4 - 1/6, and t with one degree of freedom, 12.706 x 1/60
    said = pointed(page, 0, 4)
    assert said.splitlines()[:3] == ["llmr", "optimiser steps: 16", "validation return (nats): 3.81667"]
    low, high = map(float, re.search(r"95% interval (\S+) to (\S+)", said).groups())
    assert (high - low) / 2 == pytest.approx(12.7062 / 60, rel=1e-3)
    assert "n = 2" in said
    page.mouse.move(5, 5)
    assert page.is_hidden("#tip")
    assert "variance of the K-step return (nats²): 16" in pointed(page, 4, 0)  # far, K = 1
    assert faults == []


def test_what_belongs_together_stands_in_one_row(tmp_path, browser):
    page, faults = opened(browser, written(whole(tasks=("demo", "more")), tmp_path))
    rows = """[...document.querySelectorAll(`[data-figure=${name}] .panel`)].map(
        (one) => [one.textContent, one.getBoundingClientRect().top])"""
    for name, count in (("figure1", 2), ("figure2", 2), ("figure3", 2), ("gradient", 2)):
        tops = [top for _, top in page.evaluate(f"(name) => {rows}", name)]
        assert [tops.count(top) for top in dict.fromkeys(tops)] == [count] * (len(tops) // count), name
    assert faults == []


def test_a_choice_of_seed_changes_the_curve(finished, browser):
    page, faults = opened(browser, finished[0])
    mean = places(page, 0)[1][1]
    page.check("input[name=seed-figure1][value='1']")
    assert page.is_checked("input[name=seed-figure3][value='1']")
    assert places(page, 0)[1][1] != mean
    said = pointed(page, 0, 4).splitlines()
    assert said[:3] == ["llmr, seed 1", "optimiser steps: 16", f"validation return (nats): {4 - 1 / 6:.6g}"]
    page.reload()
    assert pointed(page, 0, 4).startswith("llmr, seed 1")  # whoever watches does not lose it
    page.check("input[name=seed-figure1][value=all]")
    assert page.locator(".panel svg").first.locator("path.dots").count() == 6  # three methods, two seeds
    page.uncheck(".legend label:has-text('llmr') input >> nth=0")
    assert page.locator(".panel svg").first.locator("path.dots").count() == 4
    assert faults == []


def test_every_number_leads_to_its_run_command_and_manifest(finished, browser):
    path, content = finished
    page, faults = opened(browser, path)
    numbers = page.locator(".number")
    known = {row["name"] for row in content["commands"]}
    for sources in page.evaluate("[...document.querySelectorAll('.number')].map((one) => one.dataset.sources)"):
        assert json.loads(sources)
        assert known.issuperset(json.loads(sources))
    cell = page.locator("#table1 tr:has(th:text-is('k4')) .number").first
    cell.hover()
    assert "by seed: 22, 23" in page.text_content("#tip")
    cell.click()
    names = page.locator("#result .source > summary").all_text_contents()
    assert [name.split(" ")[0] for name in names] == [
        *("near-demo-k4-s0", "near-demo-k4-s1", "evaluate-near-demo-k4", "compare-near-demo-k4"),
    ]
    page.locator("#result .source > summary").first.click()
    assert page.locator("#result .command").first.text_content() == "ketchup train --name near-demo-k4-s0"
    page.locator("#result .manifest > summary").first.click()
    assert '"what": "near-demo-k4-s0"' in page.locator("#result .manifest pre").first.text_content()
    for way in page.locator("#result .source a").all():
        assert (path.parent / unquote(way.get_attribute("href"))).exists()
    page.keyboard.press("Escape")
    assert page.is_hidden("#result")
    pointed(page, 0, 4)
    page.mouse.down()
    page.mouse.up()
    assert page.locator("#result .source").count() == 2  # the seeds that the mark is a mean of
    assert numbers.count() > 20
    assert faults == []


def test_a_result_has_an_address_of_its_own(finished, browser):
    page, faults = opened(browser, finished[0])
    page.fill("#search", "judge")
    assert page.locator("#commands tbody tr:visible").count() == 2
    page.click("#commands a:text-is('judge-far-demo')")
    assert page.text_content("#about") == "judge-far-demo"
    assert "ketchup judge --name judge-far-demo" in page.text_content("#result")
    page.click("#result .close")
    page.click("#judge a.audit >> nth=0")
    assert page.title() == "audit"
    assert faults == []


def test_a_keyboard_goes_from_number_to_number(finished, browser):
    page, faults = opened(browser, finished[0])
    page.locator(".panel svg").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.text_content("#tip").splitlines()[:2] == ["llmr", "optimiser steps: 0"]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.text_content("#tip").splitlines()[:2] == ["k2", "optimiser steps: 4"]
    page.keyboard.press("Enter")
    assert page.is_visible("#result")
    page.keyboard.press("Escape")
    page.locator("#table1 .number").first.focus()
    assert "95%" in page.text_content("#tip") or "value" in page.text_content("#tip")
    assert faults == []


def test_claims_have_their_verdict_statistic_estimate_and_interval(finished, browser):
    page, faults = opened(browser, finished[0])
    row = page.locator("#claims tr:has-text('The bias of the return grows with K.')").first.inner_text()
    assert "supported" in row
    assert "the bias at each K minus that at the K before it" in row
    assert "1 [0.776, 1.22] p < 0.0001 after Holm" in row  # near, K = 4: 2 ± 0.2, minus 1 ± 0.1: 1 ± √0.05
    none = page.locator("#claims tr:has-text('Symmetric divergences')").inner_text()
    assert "undecided" in none
    assert "nothing in this study speaks of it yet" in none
    assert faults == []


def test_hostile_texts_are_shown_and_never_run(tmp_path, browser):
    content = whole(students=(HOSTILE, "far"), arms=("llmr", HOSTILE, "k4"), name=WITH_SLASH)
    content["circumstances"]["git"]["commit"] = WITH_SLASH
    content["judge"][0]["result"]["judge"]["model"] = WITH_SLASH
    for row in content["commands"]:
        row["command"] += f" --prompt-style {WITH_SLASH}"
    page, faults = opened(browser, written(content, tmp_path))
    assert page.text_content("h1") == WITH_SLASH
    for number in page.locator(".number").all()[:30]:
        number.dispatch_event("pointerover")
        number.dispatch_event("click")
        page.keyboard.press("Escape")
    page.locator("#commands a", has_text=HOSTILE).first.click()
    assert HOSTILE in page.text_content("#about")
    assert WITH_SLASH in page.text_content("#result .command")
    page.keyboard.press("Escape")
    assert page.is_hidden("#result")
    assert HOSTILE in pointed(page, 0, 2) + pointed(page, 1, 2) + page.text_content(".legend")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert faults == []


def test_an_unfinished_study_shows_what_is_there_and_names_what_is_not(tmp_path, browser):
    commands = [
        command("near-demo-llmr-s0", "train"),
        command("near-demo-k4-s0", "train", "started"),
        command("near-demo-k8-s0", "train", "failed"),
        command("judge-near-demo", "judge", "to do"),
    ]
    runs = [training("llmr", "demo", "small", 0, (1.0, math.nan, 2.0))]
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "near-demo-k8-s0.log").write_text("step 1\nError: the disk is full.\n")
    page, faults = opened(browser, written(study(commands=commands, runs=runs), tmp_path))
    assert page.text_content("#states") == "1 of 4 commands done; 1 started, 1 failed, 1 to do"
    assert "near-demo-k8-s0: Error: the disk is full." in page.inner_text("header .failed")
    assert "Not there yet: near-demo-k4-s0" in page.text_content("#curves")
    assert "Not there yet: judge-near-demo" in page.text_content("#judge")
    assert page.locator("#bias-variance").count() == 0  # the plan measures none
    assert len(places(page, 0)) == 2  # what is not finite is no mark
    page.click("#judge a")
    assert "judge-near-demo (to do)" in page.text_content("#result")
    assert faults == []


def test_a_study_of_which_nothing_is_there(tmp_path, browser):
    page, faults = opened(browser, written(study(commands=[command("a", "train", "to do")]), tmp_path))
    assert page.text_content("#states") == "0 of 1 commands done; 1 to do"
    assert faults == []


def test_the_switch_reloads_and_stays_as_it_is(finished, browser):
    page = browser.new_page()
    page.clock.install()
    page.goto(finished[0].as_uri())
    page.evaluate("window.old = true")
    page.clock.run_for(40_000)
    assert page.evaluate("window.old") is True
    page.check("#reload")
    with page.expect_navigation():
        page.clock.run_for(31_000)
    assert page.evaluate("window.old") is None
    assert page.is_checked("#reload")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_has_room_for_it_by_day_and_by_night(finished, browser, scheme):
    size = {"width": 360, "height": 740}
    page, faults = opened(browser, finished[0], viewport=size, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ink, back = page.evaluate("['color', 'backgroundColor'].map((name) => getComputedStyle(document.body)[name])")
    light, dark = (sum(map(int, re.findall(r"\d+", one)[:3])) for one in (back, ink))
    assert (light > dark + 400) if scheme == "light" else (dark > light + 400)
    assert faults == []


def test_200_runs_open_without_lag(tmp_path, browser):
    content = whole(("small", "base"), ("llmr", "k2", "k4", "k8", "k16"), tuple(range(10)), 60, ("demo", "more"))
    assert len(content["runs"]) == 200
    path = written(content, tmp_path)
    start = time.monotonic()
    page, faults = opened(browser, path)
    page.check("input[name=seed-figure1][value='3']")
    assert "seed 3" in pointed(page, 0, 5)
    assert time.monotonic() - start < 20  # a hang, on any machine; it takes about two seconds
    assert faults == []
