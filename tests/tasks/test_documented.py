"""docs/tasks.md and docs/plugins.md: their examples work, and no key is left out."""

import re
from pathlib import Path

import pytest

from ketchup import plugins
from ketchup.tasks.task_file import KEYS, read_task

DOCS = Path(__file__).parents[2] / "docs"


def block(page, mark):
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", text, re.DOTALL)[1]


def test_the_example_is_a_task(tmp_path):
    file = tmp_path / "letters.toml"
    file.write_text(block("tasks.md", "task"), encoding="utf-8")
    task = read_task(file)
    assert (task.kind, task.metrics, task.stop, task.max_new_tokens) == (
        "instruction",
        ("rouge", "bleu"),
        ("\n\n",),
        64,
    )
    assert task.files["test"] == tmp_path / "test.parquet"


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_explained(key):
    assert f"`{key}`" in (DOCS / "tasks.md").read_text(encoding="utf-8")


def test_the_example_is_a_plugin(tmp_path, monkeypatch):
    from ketchup_eval.metrics import METRICS
    from ketchup_eval.metrics.base import Item

    monkeypatch.setattr(plugins, "LOADED", {})
    file = tmp_path / "exact.py"
    file.write_text(block("plugins.md", "plugin"), encoding="utf-8")
    plugins.load_plugins([str(file)])
    metric = METRICS.pop("exact")
    items = [Item("", "a", ("a", "b")), Item("", "c", ("a",))]
    assert metric.statistics(items).ravel().tolist() == [1, 0]
