"""Names that look like markup, or that would steer the terminal, in every table and message."""

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from ketchup_eval.cli import app
from ketchup_eval.report.tables import Table
from tests.judge.given import invoke, words, write_inputs, write_jsonl
from tests.judge.mock_server import MockServer

HOSTILE = "x[/b]:smile:[red]\x1b[31m\u202ey"
SHOWN = r"x[/b]:smile:[red]\x1b[31m\u202ey"


def rendered(table):
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=True, no_color=True, legacy_windows=False).print(table)
    return out.getvalue()


def test_titles_headers_and_cells_are_texts():
    table = Table(title=f"title {HOSTILE}")
    table.add_column(f"header {HOSTILE}")
    table.add_column("number", justify="right")
    table.add_row(f"cell {HOSTILE}\nand more", "[1, 2]")
    shown = rendered(table)
    for place in ("title", "header", "cell"):
        assert f"{place} {SHOWN}" in shown
    assert f"{SHOWN} and more │ [1, 2]" in shown.replace("  ", " ")
    assert "\x1b[31m" not in shown
    assert "\u202e" not in shown


@pytest.fixture
def outputs(tmp_path):
    rows = [{"id": str(n), "document": "A house.", "summary": f"a house {n}"} for n in range(3)]
    write_jsonl(tmp_path / "data/test.jsonl", rows)
    names = [f"{HOSTILE.replace('/', '')}{letter}.jsonl" for letter in "ab"]
    for name in names:
        write_jsonl(tmp_path / name, [{"id": str(n), "prediction": f"a house {n}"} for n in range(3)])
    return tmp_path, names


def run(folder, *given):
    common = ["--data", folder / "data", "--runs-dir", folder / "runs", "--task", "xsum", "--resamples", 20]
    return CliRunner().invoke(app, [str(word) for word in [*given, *common]])


def assert_harmless(done, code=0):
    assert done.exit_code == code, done.output
    assert "\x1b" not in done.output
    assert "\u202e" not in done.output
    assert r"\x1b[31m" in done.output


def test_commands_print_names_as_they_are(outputs):
    folder, (a, b) = outputs
    assert_harmless(run(folder, "evaluate", "--predictions", folder / a, "--name", "one"))
    assert_harmless(run(folder, "compare", "--a", folder / a, "--b", folder / b))
    assert_harmless(run(folder, "evaluate", "--predictions", folder / "nowhere\x1b[31m.jsonl", "--name", "two"), code=1)
    latex = run(folder, "evaluate", "--predictions", folder / a, "--name", "x^y~[1]_", "--latex")
    assert r"x\textasciicircum{}y\textasciitilde{}{[}1{]}\_ & " in latex.output


def test_the_judge_prints_names_as_they_are(tmp_path):
    name = HOSTILE.replace("/", "")
    write_inputs(tmp_path, systems=(name, "b"))
    with MockServer().running() as server:
        command = words(tmp_path, server.base_url, a=(name,))
        assert_harmless(invoke(*command))
        assert_harmless(invoke(*command, "--latex"))
        assert json.loads(invoke(*command, "--json").stdout)["comparisons"][0]["a"].endswith(f"{name}.jsonl")
