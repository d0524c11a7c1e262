"""A study of 200 runs: its dry run before anything is done, its report when all is, and the page opened.

The finished study is made of written files: graph, resume check, tables and page.

    python tests/benchmarks/study_report.py [--steps 1000] [--seeds 5] [--limit 5.0]

The first report, whose time is told apart, reads all logs and draws the figures; after it nothing changes. Exits with 1
where one of the others takes longer than `--limit` seconds.
"""

import argparse
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ketchup.files import write_jsonl, write_kept_json
from ketchup.manifests import check_same_settings
from ketchup.runs import Run
from ketchup_eval.study.graph import graph
from ketchup_eval.study.reading import read_plan
from ketchup_eval.study.stamps import Stamp, log_path, write_stamp
from tests.report.studies import measured, number

TASKS = ("demo", "gsm8k")
STUDENTS = ("small", "base")
KS = (2, 4, 8, 16)
VALIDATIONS = 20


def plan_text(seeds):
    parts = [f'name = "bench"\nseeds = {list(range(seeds))}\nreference = "llmr"\n']
    parts += [f"[tasks.{task}]" for task in TASKS]
    parts += ["[teachers.teacher]", 'model = "demo-teacher"']
    parts += [f'[students.{name}]\nmodel = "demo-student-{at}"' for at, name in enumerate(STUDENTS, start=1)]
    parts += [f"[methods.{name}]" for name in ("seqkd", "kl", "js", "tvd", "llmr")]
    parts += ['[methods.llmr-mean]\nmethod = "llmr"\nbaseline = "mean"']
    parts += [f'[methods.k{k}]\nmethod = "ketchup"\nk = {k}' for k in KS]
    return "\n".join([*parts, "[variance]", "gradient = true", "[evaluate]", "[compare]"])


def metrics(steps, seed):
    for step in range(steps + 1):
        row = {"step": step, "loss": math.sin(step), "grad_norm": 1.0, "lr": 1e-5, "clipped": 0.1, "ended": 0.9}
        row |= {
            "entropy": 0.1,
            "length": 50.0,
            "return": -40.0 + step / steps,
            "return_estimate": -30.0,
            "reverse_kl": 1.0,
        }
        if step % (steps // VALIDATIONS) == 0:
            values = {
                "return": -80.0 + 20 * step / steps + seed,
                "kl": 1.0,
                "length": 50.0,
                "ended": 0.9,
                "entropy": 0.1,
            }
            row |= {f"validation_{name}": value for name, value in values.items()}
        yield {**row, "seconds": {"sample": 0.2, "teacher": 0.1, "student": 0.1, "optimiser": 0.01, "other": 0.01}}


def write(folder, node, steps):
    """What a node leaves behind."""
    seed = node.labels.get("seed", 0)
    if node.kind == "train":
        run = Run(folder / node.name)
        options = (
            {"k": int(node.labels["method"][1:]), "tail": "one-step"} if node.labels["method"][1:].isdigit() else {}
        )
        options |= {"baseline": "mean" if "mean" in node.labels["method"] else "none"}
        given = {
            "method": node.words[1],
            "options": options,
            "learning_rate": 1e-5,
            "seed": seed,
            "task": node.labels["task"],
        }
        check_same_settings(run.folder, given)
        write_jsonl(run.metrics, metrics(steps, seed))
        scores = {name: {**number(25.0 + seed, 20.0, 30.0), "signature": "x"} for name in ("accuracy", "return")}
        about = {"task": node.labels["task"], "n": 50, "references_fingerprint": "x", "scores": scores}
        write_kept_json(run.scores, {"schema": 1, "splits": {"test": about}})
    elif node.kind == "variance":
        check_same_settings(folder / node.name, {"task": node.labels["task"]})
        result = measured(node.labels["task"], students=(node.labels["student"],), gradient=True)["result"]
        result["students"][0]["name"] = node.labels["model"]
        write_kept_json(folder / node.name / "variance.json", result)
    elif node.kind == "compare":
        row = {"score": "accuracy", "difference": number(1.0, 0.5, 1.5), "test": "t over runs and inputs", "p": 0.01}
        row |= {"higher_is_better": True, "detectable": 1.0}
        write_kept_json(folder / f"{node.name}.json", {"comparisons": [row]})
    log_path(folder, node.name).parent.mkdir(parents=True, exist_ok=True)
    log_path(folder, node.name).write_text("done\n")
    write_stamp(folder, node.name, Stamp("done", node.words, 36.0, "2026-01-02T03:04:05+00:00", 0))


def timed(command):
    """Seconds, and seconds of a core, which other processes do not lengthen."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def opened(page):
    """Seconds until every figure is drawn, in a headless Chromium; `None` without one."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if chromium is None:
        return None
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        began = time.monotonic()
        tab.goto(page.as_uri())
        assert tab.locator(".panel svg").count() > 0
        seconds = time.monotonic() - began
        browser.close()
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=float, default=5.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        plan = Path(place) / "bench.toml"
        plan.write_text(plan_text(given.seeds), encoding="utf-8")
        runs = Path(place) / "runs"
        nodes = graph(read_plan(plan), runs)
        command = [sys.executable, "-m", "ketchup_eval.cli", "study", str(plan), "--runs-dir", str(runs)]
        fresh = min(timed([*command, "--dry-run"]) for _ in range(3))
        for node in nodes.values():
            write(runs / "bench", node, given.steps)
        first, again = timed(command), [timed(command) for _ in range(3)]
        page = runs / "bench" / "study.html"
        study = json.loads((runs / "bench" / "study.json").read_text(encoding="utf-8"))
        size = page.stat().st_size / 1e6
        print(f"{len(study['runs'])} runs of {given.steps} steps, {len(nodes)} commands, page {size:.1f} MB")
        print("nothing done yet, --dry-run: {:.2f} s, {:.2f} s of a core (of 3)".format(*fresh))
        print("first report, which reads all logs and draws the figures: {:.2f} s, {:.2f} s of a core".format(*first))
        print("finished study, resume check, tables and page: {:.2f} s, {:.2f} s of a core (of 3)".format(*min(again)))
        seconds = opened(page)
        print("no Chromium" if seconds is None else f"page opened and drawn: {seconds:.2f} s")
        sys.exit(max(min(again)[0], fresh[0]) > given.limit)


if __name__ == "__main__":
    main()
