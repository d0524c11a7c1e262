"""A study of which only the judge is left to run: what comes before it, as files."""

from pathlib import Path

from ketchup.manifests import check_same_settings
from ketchup_eval.study.graph import graph
from ketchup_eval.study.reading import read_plan
from ketchup_eval.study.stamps import Stamp, write_stamp
from tests.judge.given import write_inputs, write_jsonl
from tests.study.plans import plan_file

METHODS = ("kl", "llmr", "k2")
PLAN = """
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
criteria = ["overall"]
resamples = 50
"""


def study_to_judge(folder: Path, judge: str, items: int = 5) -> Path:
    """The plan, with more lines about its judge; all before `judge-s-xsum` is done, in `runs` of the folder."""
    write_inputs(folder, items, systems=METHODS)
    file = plan_with_judge(folder, judge)
    runs = folder / "runs" / "judged"
    for method in METHODS:  # as training and evaluation leave them
        run = runs / f"s-xsum-{method}-s0"
        settings = {"task": "xsum", "data": str(folder / "data"), "method": method, "options": {}}
        check_same_settings(run, {**settings, "learning_rate": 1e-5, "seed": 0})
        write_jsonl(run / "metrics.jsonl", [{"step": 0, "validation_return": 1.0}])
        (run / "predictions").mkdir()
        (folder / f"{method}.jsonl").rename(run / "predictions" / "test.jsonl")
    for node in graph(read_plan(file), folder / "runs").values():
        if node.kind != "judge":
            write_stamp(runs, node.name, Stamp("done", node.made_by, 1.0, "2026-01-01T00:00:00+00:00", 0))
    return file


def plan_with_judge(folder: Path, judge: str) -> Path:
    """The plan alone."""
    return plan_file(folder, PLAN.format(folder=folder) + judge)
