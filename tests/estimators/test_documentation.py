"""docs/estimators.md says of every row what the row says of itself."""

from pathlib import Path

import pytest

from ketchup.estimators import BASELINES, ESTIMATORS, baseline, estimator, usage
from ketchup.methods import options
from tests.estimators.given import TEXTS

PAGE = (Path(__file__).parents[2] / "docs/estimators.md").read_text(encoding="utf-8")
LINES = PAGE.splitlines()


def needs_of(row):
    return ", ".join(sorted(row.needs)) or "-"


@pytest.mark.parametrize("text", TEXTS)
def test_the_line_of_an_estimator(text):
    found, row = estimator(text), ESTIMATORS[text.split(":")[0]]
    cells = [
        f"`{text}`",
        row.formula,
        found.objective.name,
        "yes" if found.unbiased else "no",
        needs_of(found),
        row.source,
    ]
    assert f"| {' | '.join(cells)} |" in LINES


@pytest.mark.parametrize("name", BASELINES)
def test_the_line_of_a_baseline(name):
    found, row = baseline(name), BASELINES[name]
    cells = [f"`{name}`", row.formula, "yes" if found.unbiased else "no", needs_of(found), row.source or "-"]
    assert f"| {' | '.join(cells)} |" in LINES


def test_no_other_rows_are_listed():
    listed = {line.split("`")[1] for line in LINES if line.startswith("| `")}
    assert listed == {*TEXTS, *BASELINES}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_row_is_named_in_the_help(name):
    assert usage(name) in options()["estimator"].said
