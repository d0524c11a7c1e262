"""`ketchup study` as it is typed, up to where commands would run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ketchup_eval.cli import app
from ketchup_eval.study.graph import graph
from ketchup_eval.study.reading import read_plan
from ketchup_eval.study.stamps import Stamp, write_stamp
from tests.study.plans import PLAN, plan_file

SNAKEMAKE = shutil.which("snakemake", path=str(Path(sys.executable).parent))


def invoke(*words):
    return CliRunner().invoke(app, ["study", *map(str, words)])


def test_a_dry_run_names_every_command_and_runs_none(tmp_path):
    result = invoke(plan_file(tmp_path), "--runs-dir", tmp_path / "runs", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "to do made-demo-k4-s1: ketchup train ketchup --task demo" in result.output
    assert "(1 init, 1 start, 2 variance, 6 train, 8 evaluate, 2 compare), of which 0 are done" in result.output
    assert not (tmp_path / "runs").exists()


def test_lines_for_a_shell_read_the_chosen_rate(tmp_path):
    file = plan_file(tmp_path, PLAN + "[tune]\nlearning_rate = [1e-5, 1e-4]\n")
    result = invoke(file, "--runs-dir", "runs", "--print", "--only", "far-demo-k4-s7", "rate-far-demo-k4")
    lines = result.output.splitlines()
    assert lines[0] == f"ketchup study {file} --node rate-far-demo-k4 --runs-dir runs"
    assert lines[1].endswith('--learning-rate "$(cat runs/tiny/rates/rate-far-demo-k4.txt)"')


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "batch_size = 4",
            "batch_sise = 4",
            "start-made-demo would be no command: No such option: --batch-sise (Possible options: --batch-size",
        ),
        ("batch_size = 4", 'batch_size = "many"', "'--batch-size': Input should be a valid integer"),
        ("batch_size = 4", 'select = "acuracy"', 'would be no command: --select knows no "acuracy": did you mean'),
        ("limit = 8", 'split = "exam"', "'exam' is not one of"),
    ],
)
def test_a_command_that_would_be_refused_is_found_before_anything_runs(tmp_path, old, new, words):
    result = invoke(plan_file(tmp_path, PLAN.replace(old, new)), "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 2
    assert words in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("k = 4", "k = 0", "made-demo-k4-s0 would be no command: --k must be at least 1, not 0"),
        ("batch_size = 4", "batch_size = 4\nsteps = 3\nepochs = 1", "--steps and --epochs both say how long"),
        (
            "[methods.k4]",
            "[methods.sft]\n[methods.k4]",
            "The method 'sft' learns from references and takes no --teacher",
        ),
        (
            "batch_size = 4",
            "batch_size = 4\nselect = 'return'",
            "The method 'seqkd' does not ask the teacher for returns",
        ),
    ],
)
def test_options_that_do_not_go_together_are_found_before_anything_runs(tmp_path, old, new, words):
    result = invoke(plan_file(tmp_path, PLAN.replace(old, new)), "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 2
    assert words in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_an_unknown_node_is_named(tmp_path):
    result = invoke(plan_file(tmp_path), "--node", "nothing")
    assert result.exit_code == 2
    assert 'has no result "nothing"' in result.output


def test_a_report_runs_nothing_and_writes_what_is_known(tmp_path):
    result = invoke(plan_file(tmp_path), "--runs-dir", tmp_path / "runs", "--report")
    assert result.exit_code == 0, result.output
    assert f"Written: {tmp_path}/runs/tiny/study.html, study.json, claims.json" in result.output.replace("\n", "")
    assert sorted(path.name for path in (tmp_path / "runs" / "tiny").iterdir()) == [
        "claims.json",
        "study.html",
        "study.json",
    ]
    page = (tmp_path / "runs" / "tiny" / "study.html").read_text(encoding="utf-8")
    assert re.search(r"0 of \d+ commands done; \d+ to do", page)


def test_a_finished_study_is_read_without_torch(tmp_path):
    """What is done was checked before it ran; checking options of methods again would load them, in seconds."""
    plan = plan_file(tmp_path)
    for name, node in graph(read_plan(plan), tmp_path / "runs").items():
        write_stamp(tmp_path / "runs" / "tiny", name, Stamp("done", node.words, 1.0, "2026-01-02T03:04:05+00:00", 0))
    done = without({"torch", "transformers"}, plan, "--runs-dir", tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert "20 results are done" in done.stderr


def test_a_plan_is_looked_at_without_transformers(tmp_path):
    """Options of methods need torch, whose import takes a second; models of transformers would take three more."""
    words = ["--runs-dir", tmp_path / "runs", "--dry-run"]
    done = without({"transformers", "accelerate", "datasets"}, plan_file(tmp_path), *words)
    assert done.returncode == 0, done.stderr


PLUGIN = """
from dataclasses import replace
from ketchup.methods import METHODS
METHODS["mine"] = replace(METHODS["kl"], build=lambda: replace(METHODS["kl"].build(), name="mine"))
"""


def test_every_command_gets_the_plugins_of_the_study(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN, encoding="utf-8")
    plan = plan_file(tmp_path, PLAN.replace("[methods.k4]", "[methods.mine]\n[methods.k4]"))
    words = [plan, "--runs-dir", tmp_path / "runs", "--print"]
    done = without(set(), *words, "--plugin", tmp_path / "mine.py")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 20
    assert all(line.endswith(f"--plugin {tmp_path / 'mine.py'}") for line in lines)
    assert "There is no method 'mine'" in without(set(), *words).stderr


def without(modules, *words):
    """The command in a Python of its own, which says at its end which of these modules it has imported."""
    script = (
        "import sys\n"
        f"sys.argv = ['ketchup', 'study', *{[str(word) for word in words]!r}]\n"
        "from ketchup_eval.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"sys.exit(', '.join({modules!r} & sys.modules.keys()) or 0)"
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


def test_jobs_of_a_workflow_know_where_rows_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my rows").mkdir()
    words = ["--runs-dir", tmp_path / "runs", "--snakefile", tmp_path / "Snakefile", "--data", "demo=my rows"]
    assert invoke(plan_file(tmp_path), *words).exit_code == 0
    rules = [line for line in (tmp_path / "Snakefile").read_text().splitlines() if "--node" in line]
    assert rules
    assert all("--data 'demo=my rows'" in line for line in rules)


@pytest.mark.skipif(SNAKEMAKE is None, reason="no snakemake beside this Python")
def test_snakemake_runs_the_same_graph_and_writes_the_page_whether_it_fails_or_not(tmp_path):
    folder = tmp_path / "runs" / "tiny"
    workflow(tmp_path, PLAN.replace("layers = 1", "layers = 99"))
    done = snakemake(tmp_path)
    assert done.returncode == 1
    assert "init-made-demo failed: Error: Cannot keep 99 of 3 layers" in done.stderr
    assert "0 of 20 commands done; 1 failed" in (folder / "study.html").read_text(encoding="utf-8")
    workflow(tmp_path)  # the plan is mended
    for said in ("1 of 3 steps", "Nothing to be done"):
        done = snakemake(tmp_path)
        assert done.returncode == 0, done.stderr
        assert said in done.stdout + done.stderr
    assert (folder / "init-made-demo" / "model.safetensors").exists()
    assert "1 of 20 commands done" in (folder / "study.html").read_text(encoding="utf-8")
    assert (folder / "study.json").exists()
    assert (folder / "claims.json").exists()


def workflow(folder, text=PLAN):
    words = ["--runs-dir", folder / "runs", "--until", "init", "--snakefile", folder / "Snakefile"]
    result = invoke(plan_file(folder, text), *words)
    assert result.exit_code == 0, result.output


def snakemake(folder):
    bare = {**os.environ, "PATH": os.defpath}  # of somebody who types .venv/bin/snakemake
    command = [str(SNAKEMAKE), "-s", "Snakefile", "--cores", "1"]
    return subprocess.run(command, cwd=folder, env=bare, capture_output=True, text=True, check=False)
