"""The judge as a step of a study: the command of the plan, against a server, up to the table and the claim."""

import json
from pathlib import Path

import pytest

from ketchup.errors import RunError
from ketchup_eval.report.study.tables import study_tables
from ketchup_eval.study.collect import collect
from ketchup_eval.study.graph import graph
from ketchup_eval.study.reading import read_plan
from ketchup_eval.study.running import Outcome, run_graph
from ketchup_eval.study.stamps import read_stamps
from tests.judge.mock_server import MODEL, Answer, MockServer
from tests.study.given import plan_with_judge, study_to_judge

NAME = "judge-s-xsum"


def prefers_k2(prompt, attempt, body):
    """The text by k2 wherever it stands and whatever its ID, else the first one: a judge with a side."""
    named = {line[9]: "by k2" in line for line in prompt.splitlines() if line.startswith("Summary [")}
    chosen = [letter for letter, wanted in named.items() if wanted] or list(named)
    return Answer(f"Why: because.\nPreferred: {chosen[0]}")


def at(server: str, more: str = "") -> str:
    return f'base_url = "{server}"\nmodel = "{MODEL}"\n{more}'


def run(file: Path) -> tuple[Outcome, Path]:
    """Runs the judge of a plan; what came of it, and its folder."""
    nodes, folder = graph(read_plan(file), file.parent / "runs"), file.parent / "runs" / "judged"
    return run_graph(nodes, {NAME: nodes[NAME]}, folder, 1, threads=1), folder


def test_a_plans_judge_asks_of_each_method_against_its_reference(tmp_path: Path) -> None:
    with MockServer(prefers_k2).running() as server:
        file = study_to_judge(tmp_path, at(server.base_url))
        outcome, folder = run(file)
        assert outcome.done == [NAME], (folder / "logs" / f"{NAME}.log").read_text(encoding="utf-8")
    plan = read_plan(file)
    content = collect(plan, graph(plan, tmp_path / "runs"), folder)
    (table,) = [one for one in study_tables(content) if one.kind == "table2"]
    rates = {row.name: cell.estimate.value for row in table.rows for cell in row.cells.values()}
    assert rates == {"llmr": 50.0, "k2": 100.0}  # the first place is each one's half the time
    assert (folder / NAME / "judge.html").exists()


def test_a_judge_goes_on_at_another_address_and_asks_again_where_it_is_told_to(tmp_path: Path) -> None:
    """A server that comes back has another port; what a reply depends on, as the model, is another matter."""
    file = study_to_judge(tmp_path, at("http://127.0.0.1:9/v1", "attempts = 1\n"))
    outcome, folder = run(file)
    assert outcome.failed == [NAME]
    with MockServer(prefers_k2).running() as server:
        plan_with_judge(tmp_path, at(server.base_url, "retry_unparsed = true\nconcurrency = 2\n"))
        assert run(file)[0].done == [NAME]
    asked = len((folder / NAME / "verdicts.jsonl").read_text(encoding="utf-8").splitlines())
    plan_with_judge(tmp_path, at("http://127.0.0.1:10/v1"))
    assert run(file)[0].done == [NAME]  # nothing is asked any more
    assert len((folder / NAME / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()) == asked == 40
    plan_with_judge(tmp_path, at("http://127.0.0.1:10/v1").replace(MODEL, "another"))
    with pytest.raises(RunError, match=f"it had --model {MODEL}, the plan has --model another"):
        run(file)


def test_no_file_of_a_study_has_a_key(tmp_path: Path) -> None:
    """A plan may hold one, in an address or among options of a server; nothing that is written of it does."""
    words = "attempts = 1\nserve_options = \"--dtype float32 --api-key 'sk hunter22'\"\nserve = 'nothing'\n"
    file = study_to_judge(tmp_path, at("http://me:hunter22@127.0.0.1:9/v1?api_key=hunter22", words))
    outcome, folder = run(file)
    assert outcome.failed == [NAME]
    plan = read_plan(file)
    nodes = graph(plan, tmp_path / "runs")
    assert "hunter22" in " ".join(nodes[NAME].words)
    assert read_stamps(folder, nodes)[NAME].state == "failed"  # by the same settings
    (folder / "study.json").write_text(json.dumps(collect(plan, nodes, folder)), encoding="utf-8")
    kept = [path for path in folder.rglob("*") if path.is_file()]
    assert len(kept) > 10
    assert [path for path in kept if b"hunter22" in path.read_bytes()] == []
