"""examples/measure.ipynb runs from top to bottom, and says what the study says."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples/measure.ipynb"


@pytest.fixture
def cells():
    return nbformat.read(NOTEBOOK, as_version=4).cells


def test_it_is_a_notebook_without_outputs(cells):
    nbformat.validate(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    codes = [cell for cell in cells if cell.cell_type == "code"]
    assert codes
    assert all(not cell.outputs and cell.execution_count is None for cell in codes)


def test_it_runs_from_two_models_to_the_figure(cells, tmp_path, monkeypatch, capsys):
    """Each cell of code, in one namespace, in order; its numbers are those that the command writes into the run."""
    monkeypatch.chdir(tmp_path)
    names = {}
    try:
        for cell in cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, cell.id, "exec"), names)
        panels = [panel.get_title() for panel in names["figure"].axes]
        drawn = [list(panel.lines[0].get_ydata()) for panel in names["figure"].axes]
    finally:
        plt.close("all")
    recorded = json.loads((tmp_path / "runs/variance-demo/variance.json").read_text())
    (student,) = recorded["students"]
    for quantity, values in zip(panels, drawn, strict=True):
        assert values == [row[quantity]["value"] for row in student["estimates"]]
    assert (tmp_path / "runs/variance-demo/variance.png").stat().st_size
    said = capsys.readouterr().out
    least = min(student["estimates"], key=lambda row: row["mse"]["value"])
    assert f"is least at K = {least['k']}: {least['mse']['value']:.0f} nats²" in said
    assert "nan" not in said.split()
