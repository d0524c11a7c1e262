"""docs/api.md: up to date, whole, and every example on it runs."""

import re
import runpy
from pathlib import Path

import pytest
import torch

import ketchup
from tests.judge.mock_server import MODEL, MockServer

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/api.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
EXAMPLES = {
    name: code
    for name, text in ENTRIES.items()
    for code in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    if not code.startswith(f"ketchup.{name}(\n    ")
}
FUNCTIONS = [name for name, text in ENTRIES.items() if f"\nketchup.{name}(\n    " in text]


def test_the_page_is_what_the_docstrings_say():
    assert runpy.run_path(str(ROOT / "scripts/api_page.py"))["page"]() == PAGE, "run python scripts/api_page.py"


def test_every_public_name_is_on_it():
    assert set(ENTRIES) == set(ketchup.__all__)
    assert {"credit", "load", "sample", "score", "measure", "evaluate", "compare", "judge"} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_what_it_raises_and_has_a_short_example(name):
    assert "\nRaises `" in ENTRIES[name]
    assert len(EXAMPLES[name].split("\n\n")[-1].splitlines()) <= 5  # imports aside


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_as_it_stands(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with MockServer().running() as server:
        exec(EXAMPLES[name], {"ketchup": ketchup, "torch": torch, "url": server.base_url, "model": MODEL})
    assert "nan" not in capsys.readouterr().out.split()
