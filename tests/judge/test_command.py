"""`ketchup judge` from files to results: what it asks, what it counts, and what it refuses."""

import json
from itertools import pairwise

import pytest

from ketchup.manifests import check_same_settings
from tests.judge.given import invoke, prefers, prefers_first, result, verdict_rows, words, write_inputs, write_jsonl
from tests.judge.mock_server import MODEL, Answer, MockServer

pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.mark.parametrize(
    ("answer", "id_effect", "position"),
    [(prefers("A"), 1, 0), (prefers("B"), -1, 0), (prefers_first, 0, 1)],
)
def test_a_judge_with_one_fault_scores_half_and_shows_it(tmp_path, answer, id_effect, position):
    write_inputs(tmp_path)
    with MockServer(answer).running() as server:
        done = invoke(*words(tmp_path, server.base_url))
    assert done.exit_code == 0, done.output
    (comparison,) = result(tmp_path)["comparisons"]
    found = comparison["effects"]
    assert [found[name]["value"] for name in ("vote_share", "id", "position")] == [0.5, id_effect, position]
    assert comparison["counts"] == dict.fromkeys(comparison["counts"], 0) | {"items": 5, "votes": 20, "parsed": 20}
    assert comparison["signature"].startswith("judge:mock-judge|criterion:overall|prompt:")
    assert "|n:5|seed:0|" in comparison["signature"]
    assert "50.0 [28.3, 71.7]" in done.stdout  # Agresti and Coull's for five items that agree: 1.96 √(0.1086 / 8.84)


def test_each_variant_shows_both_texts_in_its_order_under_its_ids(tmp_path):
    write_inputs(tmp_path, items=1)
    with MockServer().running() as server:
        invoke(*words(tmp_path, server.base_url))
    orders = set()
    for prompt in server.prompts:
        shown = [line for line in prompt.splitlines() if line.startswith("Summary [")]
        orders.add(tuple((line[9], line.split("by ")[1][0]) for line in shown))
    assert orders == {
        (("A", "a"), ("B", "b")),
        (("B", "a"), ("A", "b")),
        (("A", "b"), ("B", "a")),
        (("B", "b"), ("A", "a")),
    }


def test_runs_by_name_bring_the_task_and_data_that_they_were_trained_on(tmp_path):
    write_inputs(tmp_path, systems=("ketchup", "kl"))
    for name in ("ketchup", "kl"):
        run = tmp_path / "runs" / name
        check_same_settings(run, {"task": "xsum", "data": tmp_path / "data", "seed": 0})
        (run / "predictions").mkdir()
        (tmp_path / f"{name}.jsonl").rename(run / "predictions/test.jsonl")
    common = ["judge", "--a", "ketchup", "--b", "kl", "--runs-dir", tmp_path / "runs", "--resamples", 50]
    with MockServer(prefers("A")).running() as server:
        done = invoke(*common, "--base-url", server.base_url, "--model", MODEL, "--criteria", "overall")
    assert done.exit_code == 0, done.output
    assert len(verdict_rows(tmp_path)) == 20
    (tmp_path / "runs/kl/manifest.json").unlink()
    assert "does not say which task" in invoke(*common, "--model", MODEL).stderr


def test_the_key_goes_to_the_server_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    write_inputs(tmp_path)
    with MockServer().running() as server:
        done = invoke(*words(tmp_path, server.base_url))
    assert server.authorisations == {"Bearer sk-very-secret"}
    written = [path.read_text() for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert not any("very-secret" in text for text in (*written, done.output))


def test_identical_outputs_are_skipped_and_counted(tmp_path):
    write_inputs(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    rows[0]["prediction"] = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])["prediction"] + " "
    write_jsonl(tmp_path / "b.jsonl", rows)
    with MockServer().running() as server:
        assert invoke(*words(tmp_path, server.base_url)).exit_code == 0
    counts = result(tmp_path)["comparisons"][0]["counts"]
    assert (counts["items"], counts["identical"], counts["votes"]) == (4, 1, 16)


def test_samples_nest_and_do_not_depend_on_the_order_of_rows(tmp_path):
    write_inputs(tmp_path, items=30)
    judged = {}
    with MockServer().running() as server:
        for limit in (5, 12):
            server.prompts = []
            invoke(*words(tmp_path, server.base_url, limit=limit))
            judged[limit] = {row["item"] for row in verdict_rows(tmp_path)}
            lines = (tmp_path / "a.jsonl").read_text().splitlines(keepends=True)
            (tmp_path / "a.jsonl").write_text("".join(reversed(lines)))
    assert len(judged[5]) == 5
    assert len(judged[12]) == 12
    assert judged[5] < judged[12]
    assert len(server.prompts) == 7 * 4


def test_several_systems_share_the_prefixes_and_are_compared(tmp_path):
    write_inputs(tmp_path, items=8, systems=("x", "y", "z", "b"))

    def answer(prompt, attempt, body):
        """Prefers x always, y on every other item, z never."""
        shown = {line[9]: line for line in prompt.splitlines() if line.startswith("Summary [")}
        system = next(line.split("by ")[1][0] for line in shown.values() if "by b" not in line)
        wins = system == "x" or (system == "y" and int(prompt.split("id-")[1][0]) % 2)
        return Answer(
            "Why: so.\nPreferred: " + next(id for id, line in shown.items() if ("by b" in line) != bool(wins))
        )

    with MockServer(answer).running() as server:
        done = invoke(*words(tmp_path, server.base_url, a=("x", "y", "z"), concurrency=1))
    assert done.exit_code == 0, done.output
    found = result(tmp_path)
    assert [row["effects"]["vote_share"]["value"] for row in found["comparisons"]] == [1, 0.5, 0]
    assert [row["difference"]["value"] for row in found["differences"]] == [0.5, 1, 0.5]
    assert found["differences"][1]["p_holm"] == pytest.approx(3 * 2 / 2**8)
    firsts = [prompt[: prompt.index("\n\nSummary [", prompt.index("Summary [") + 5)] for prompt in server.prompts[:12]]
    assert len(set(firsts)) == 8
    assert sum(left != right for left, right in pairwise(firsts)) == 7


def test_questions_asked_twice_show_how_often_the_choice_flips(tmp_path):
    write_inputs(tmp_path, items=10)
    with MockServer(lambda prompt, attempt, body: Answer(f"Preferred: {'AB'[attempt % 2]}")).running() as server:
        assert invoke(*words(tmp_path, server.base_url, repeat_check=10)).exit_code == 0
    flips = result(tmp_path)["repeat_flips"]
    assert flips["value"] == flips["high"] == 1
    assert flips["low"] < 0.9, "a few items cannot show that every choice flips"
    assert sum(server.attempts.values()) == 50


def test_soft_preference_beside_the_votes(tmp_path):
    """e^-0.5 against e^-1.5: the choice has 0.731; the same always-A judge is at half."""
    write_inputs(tmp_path)
    with MockServer().running() as server:
        assert invoke(*words(tmp_path, server.base_url, logprobs=True)).exit_code == 0
    (comparison,) = result(tmp_path)["comparisons"]
    assert comparison["effects"]["soft_share"]["value"] == pytest.approx(0.5)
    assert {round(row["probability_of_a"], 3) for row in verdict_rows(tmp_path)} == {0.731}


def test_a_server_that_ignores_constraints_is_found_out(tmp_path):
    write_inputs(tmp_path)
    with MockServer().running() as server:
        done = invoke(*words(tmp_path, server.base_url, constrained=True))
    assert done.exit_code == 1
    assert "ignores structured_outputs" in done.stderr


def test_human_preferences(tmp_path):
    """The judge takes a on all 5 items; people take a on 3, b on 1 and none on 1: accuracy 3/4, kappa 0."""
    write_inputs(tmp_path)
    people = [{"id": f"id-{n}", "preferred": choice} for n, choice in enumerate(["a", "a", "a", "b", "tie"])]
    human = write_jsonl(tmp_path / "people.jsonl", people)

    def answer(prompt, attempt, body):
        shown = {line[9]: line for line in prompt.splitlines() if line.startswith("Summary [")}
        return Answer("Preferred: " + next(id for id, line in shown.items() if "by a" in line))

    with MockServer(answer).running() as server:
        done = invoke(*words(tmp_path, server.base_url, human=human))
    assert "Agreement with people" in done.stdout
    (comparison,) = result(tmp_path)["comparisons"]
    assert comparison["human"]["accuracy"]["value"] == 0.75
    assert comparison["human"]["kappa"]["value"] == pytest.approx(0)
    assert comparison["human"]["accuracy"]["n"] == 4


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"id": "nope"}, 'the predictions have no id "nope"'),
        ({"id": ["id-1"]}, "no preference"),
        ({"id": "id-1", "criterion": "overal"}, 'criterion" is "overal"; write coherence, informativeness, overall,'),
        ({"id": "id-1", "criterion": ["overall"]}, 'criterion" is ["overall"]'),
        ({"id": "id-1", "criterion": ""}, 'criterion" is ""'),
        ({"id": "id-1", "a": "kl"}, '"a" is "kl"; name one of '),
        ({"id": "id-1", "a": {}}, '"a" is {}'),
        ({"id": "id-0"}, 'the id "id-0" has a preference already'),
    ],
)
def test_human_rows_that_match_nothing(tmp_path, row, named):
    write_inputs(tmp_path)
    human = write_jsonl(tmp_path / "people.jsonl", [{"id": "id-0", "preferred": "a"}, {"preferred": "a"} | row])
    done = invoke(*words(tmp_path, "http://127.0.0.1:9/v1", human=human))
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {human}:2: ")
    assert named in done.stderr


def test_human_rows_of_items_and_criteria_that_are_not_judged_now(tmp_path, caplog):
    """Of 3 items 2 are judged, by one criterion; what people say of that one counts before what they say of all."""
    write_inputs(tmp_path, items=3)
    people = [{"id": f"id-{n}", "preferred": "a", "criterion": "overall"} for n in range(3)]
    people += [{"id": f"id-{n}", "preferred": "b"} for n in range(3)]
    people += [{"id": "id-0", "preferred": "b", "criterion": "coherence"}]
    human = write_jsonl(tmp_path / "people.jsonl", people)
    with MockServer(prefers("A")).running() as server:
        done = invoke(*words(tmp_path, server.base_url, human=human, limit=2))
    assert done.exit_code == 0, done.output
    (comparison,) = result(tmp_path)["comparisons"]
    assert comparison["human"]["accuracy"]["n"] == 2
    left_out = sum(row["id"] not in {row["item"] for row in verdict_rows(tmp_path)} for row in people)
    assert f"{left_out} of 7 preferences are on items that are not judged" in caplog.text


def test_dry_run_needs_no_server_and_shows_all_four_prompts(tmp_path):
    write_inputs(tmp_path)
    done = invoke(*words(tmp_path, "http://127.0.0.1:9/v1", criteria=("overall", "coherence"), dry_run=True))
    assert done.exit_code == 0
    assert "40 of 40 calls" in done.stdout
    assert done.stdout.count("Document: Article") == 4
    assert not (tmp_path / "runs").exists()


def test_latex(tmp_path):
    write_inputs(tmp_path, systems=("a_1", "b"))
    with MockServer().running() as server:
        done = invoke(*words(tmp_path, server.base_url, a=("a_1",), criteria=("overall", "coherence"), latex=True))
    assert r"(\%) & Overall & Coherence \\" in done.stdout
    cell = r"50.00 {\scriptsize [28.28, 71.72]}"
    assert rf"a\_1 & {cell} & {cell} \\" in done.stdout


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        ({"limit": 0}, 2, "--limit"),
        ({"serve_options": "--dtype 'float32"}, 2, "--serve-options"),
        ({"concurrency": 0}, 2, "--concurrency"),
        ({"temperature": -1}, 2, "--temperature"),
        ({"criteria": ("fluency",)}, 2, "fluency"),
        ({"criteria": ("overall", "overall")}, 2, "named twice"),
        ({"b": "a"}, 2, "named twice"),
        ({"b": "nowhere"}, 1, "nowhere"),
        ({"task": "gsm8k"}, 2, "reasoning"),
        ({"prompts": "nowhere"}, 2, "nowhere"),
        ({"human": "nowhere"}, 1, "nowhere"),
        ({"data": "nowhere"}, 1, "nowhere"),
    ],
)
def test_what_can_never_work_is_one_sentence(tmp_path, options, code, named):
    write_inputs(tmp_path)
    with MockServer().running() as server:
        done = invoke(*words(tmp_path, server.base_url, **options))
    assert done.exit_code == code, done.output
    line = done.stderr.strip().splitlines()[-1]  # after lines of progress, on a slow machine
    assert line.startswith("Error: ")
    assert named in line


def test_ids_that_the_task_lacks_are_named(tmp_path):
    write_inputs(tmp_path)
    for name in ("a", "b"):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"id": "other", "prediction": name}])
    done = invoke(*words(tmp_path, "http://127.0.0.1:9/v1"))
    assert done.exit_code == 1
    assert 'b.jsonl:1: the id "other" is that of no row (1 of 1 are not)' in done.stderr
