"""The shape of the code: floors, what a call for help costs, and files that fit in a head."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("ketchup", "ketchup_eval")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MOST_LINES = 330


def test_every_module_imports_only_from_floors_below_its_own():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: 1 kept, 0 broken." in done.stdout


def test_help_imports_neither_torch_nor_transformers():
    script = (
        "import sys\n"
        "sys.argv = ['ketchup', '--help']\n"
        "from ketchup_eval.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit(', '.join({'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert "Usage: ketchup" in done.stdout


def test_where_a_run_keeps_what_is_written_in_one_place():
    """As a part of a path, `folder / "predictions"`, or as the name of a file."""
    names = {"manifest.json", "metrics.jsonl", "scores.json"}
    folders = {"best", "last", "checkpoints", "predictions", "segments", "rollouts"}
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            part = node.right if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) else node
            known = names if part is node else names | folders
            if isinstance(part, ast.Constant) and part.value in known:
                found.add(path.relative_to(ROOT).as_posix())
    of_comet = {"ketchup_eval/metrics/comet.py", "ketchup_eval/metrics/comet_answers.py"}  # its folders, not a run's
    assert found - of_comet == {"ketchup/runs.py"}


def test_the_words_of_options_are_typed_once():
    """The command line takes them from `ketchup.choices`, as whatever they are options of does."""
    told = [path for path in SOURCES if "cli" in path.parts and "Literal[" in path.read_text(encoding="utf-8")]
    assert not told


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_so_long_that_two_ideas_share_it(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
