"""The judge as a step of a study: the command of the plan, against a server, up to the table and the claim."""

from pathlib import Path

from ketchup.manifests import check_same_settings
from ketchup_eval.report.study.tables import study_tables
from ketchup_eval.study.collect import collect
from ketchup_eval.study.graph import graph
from ketchup_eval.study.reading import read_plan
from ketchup_eval.study.running import run_graph
from ketchup_eval.study.stamps import Stamp, write_stamp
from tests.judge.given import write_inputs, write_jsonl
from tests.judge.mock_server import MODEL, Answer, MockServer
from tests.study.plans import plan_file

JUDGED = """
name = "judged"
reference = "kl"
[tasks.xsum]
data = "{folder}/data"
[teachers.t]
model = "t"
[students.s]
model = "s"
[methods.kl]
[methods.llmr]
[methods.k2]
method = "ketchup"
k = 2
[evaluate]
[judge]
base_url = "{server}"
model = "{model}"
criteria = ["overall"]
resamples = 50
"""


def prefers_k2(prompt, attempt, body):
    """The text by k2 wherever it stands and whatever its ID, else the first one: a judge with a side."""
    named = {line[9]: "by k2" in line for line in prompt.splitlines() if line.startswith("Summary [")}
    chosen = [letter for letter, wanted in named.items() if wanted] or list(named)
    return Answer(f"Why: because.\nPreferred: {chosen[0]}")


def test_a_plans_judge_asks_of_each_method_against_its_reference(tmp_path: Path) -> None:
    write_inputs(tmp_path, systems=("kl", "llmr", "k2"))
    with MockServer(prefers_k2).running() as server:
        text = JUDGED.format(folder=tmp_path, server=server.base_url, model=MODEL)
        plan = read_plan(plan_file(tmp_path, text))
        nodes, folder = graph(plan, tmp_path / "runs"), tmp_path / "runs" / "judged"
        for method in ("kl", "llmr", "k2"):  # as training and evaluation leave them
            run = folder / f"s-xsum-{method}-s0"
            settings = {"task": "xsum", "data": str(tmp_path / "data"), "method": method, "options": {}}
            check_same_settings(run, {**settings, "learning_rate": 1e-5, "seed": 0})
            write_jsonl(run / "metrics.jsonl", [{"step": 0, "validation_return": 1.0}])
            (run / "predictions").mkdir()
            (tmp_path / f"{method}.jsonl").rename(run / "predictions" / "test.jsonl")
        for node in nodes.values():
            if node.kind != "judge":
                write_stamp(folder, node.name, Stamp("done", node.made_by, 1.0, "2026-01-01T00:00:00+00:00", 0))
        outcome = run_graph(nodes, {"judge-s-xsum": nodes["judge-s-xsum"]}, folder, 1, threads=1)
        log = (folder / "logs" / "judge-s-xsum.log").read_text(encoding="utf-8")
        assert outcome.done == ["judge-s-xsum"], log
    content = collect(plan, nodes, folder)
    (table,) = [one for one in study_tables(content) if one.kind == "table2"]
    rates = {row.name: cell.estimate.value for row in table.rows for cell in row.cells.values()}
    assert rates == {"llmr": 50.0, "k2": 100.0}  # the first place is each one's half the time
    assert (folder / "judge-s-xsum" / "judge.html").exists()
