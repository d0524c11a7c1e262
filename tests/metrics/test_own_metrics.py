"""What people's own metrics may give, and what is refused: a wrong number must not become a score without a word."""

import re
import sys

import numpy as np
import pytest

from ketchup import plugins
from ketchup.errors import DataError, UsageError
from ketchup.estimators import BASELINES, ESTIMATORS
from ketchup.methods import METHODS
from ketchup.rollouts.engines import ENGINES
from ketchup_eval.evaluation.segments import CHUNK, segment_statistics
from ketchup_eval.metrics import METRICS
from ketchup_eval.metrics.base import Item, Metric, Scale, mean_of

ITEMS = [Item("", "a", ("a",)), Item("", "b", ("a",))]


MEAN = (Scale("mine", "mean", mean_of(0)),)


def metric(statistics, scales=MEAN, **given):
    settings = {"name": "mine", "kinds": frozenset({"instruction"}), "signature": lambda _: "mine", **given}
    return Metric(statistics=statistics, scales=scales, **settings)


def gives(found):
    return metric(lambda _: found)


@pytest.mark.parametrize("found", [[[1.0], [0.0]], np.ones((2, 3), int), np.ones((2, 1), bool), np.zeros((2, 1))])
def test_numbers_for_every_item_are_taken_as_they_are(found):
    taken = segment_statistics([gives(found)], ITEMS)["mine"]
    np.testing.assert_array_equal(taken, found)
    assert taken.dtype == np.asarray(found).dtype


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (np.ones((1, 1)), "gives an array [1, 1] for 2 items; give [2, m]"),
        (np.ones((3, 1)), "gives an array [3, 1] for 2 items"),
        (np.ones(2), "gives an array [2] for 2 items"),
        (np.ones((2, 0)), "gives an array [2, 0] for 2 items"),
        (np.ones((2, 1, 1)), "gives an array [2, 1, 1] for 2 items"),
        (None, "gives an array [] for 2 items"),
        (0.5, "gives an array [] for 2 items"),
        ([["a"], ["b"]], "gives str_ for statistics; give numbers"),
        ([[None], [1]], "gives object_ for statistics; give numbers"),
        ([[1.0], [np.nan]], "gives [nan] for the output 'b', and no number for 1 of 2"),
        ([[np.inf], [-np.inf]], "gives [inf] for the output 'a', and no number for 2 of 2"),
    ],
)
def test_what_is_no_number_for_every_item_is_refused(found, said):
    with pytest.raises(DataError, match=re.escape(f'The metric "mine" {said}')):
        segment_statistics([gives(found)], ITEMS)


def test_every_piece_of_work_has_as_many_statistics():
    wider = metric(lambda items: np.ones((len(items), len(items))))
    with pytest.raises(DataError, match=f'The metric "mine" gives 2 and {CHUNK} statistics of one item'):
        segment_statistics([wider], ITEMS * (CHUNK // 2 + 1))


def test_what_cannot_be_sent_to_another_process_is_told():
    items = ITEMS * CHUNK
    counted = metric(lambda given: np.ones((len(given), 1)))
    with pytest.raises(UsageError, match='The metric "mine" counts by what cannot be sent to another process'):
        segment_statistics([counted], items, workers=2)
    assert len(segment_statistics([counted], items)["mine"]) == len(items)


@pytest.mark.parametrize("raised", ["1 / 0", "raise SystemExit(3)", "items[7]"])
def test_what_fails_is_one_sentence_with_the_line_of_the_plugin(tmp_path, monkeypatch, raised):
    file = tmp_path / "mine.py"
    file.write_text(f"def f(items):\n    {raised}\n", encoding="utf-8")
    monkeypatch.setattr(plugins, "LOADED", {})
    plugins.load_plugins([str(file)])
    loaded = [module for name, module in sys.modules.items() if name.startswith("ketchup_plugin_mine_")]
    failing = metric(loaded[-1].f)
    with pytest.raises(DataError, match=rf'The metric "mine" fails \(.*{re.escape(str(file))}:2\); mend it\.$'):
        segment_statistics([failing], ITEMS)


def test_a_rule_makes_one_score_of_each_row_of_sums():
    sums = np.ones((5, 2))
    assert Scale("mine", "corpus", mean_of(0)).of_sums(sums, 2).tolist() == [0.5] * 5
    for rule, said in (
        (lambda sums, _: sums, r"makes an array \[5, 2\], and \[5\] is wanted"),
        (lambda sums, _: sums[..., 7], "fails \\(IndexError: "),
        (lambda _sums, _n: 1.0, r"makes an array \[\], and \[5\] is wanted"),
    ):
        with pytest.raises(DataError, match=f'The rule of the score "mine" {said}'):
            Scale("mine", "corpus", rule).of_sums(sums, 2)


def test_a_share_is_all_or_nothing():
    """Wilson's interval counts items: a part of 0.3 would have counted as a whole one."""
    share = Scale("mine", "share", mean_of(0, 100.0))
    assert share.of_segments(np.array([[1.0], [0.0]])).tolist() == [100, 0]
    for part in (0.3, 0.01):
        with pytest.raises(DataError, match="is a share, so 0 or 100 for an item"):
            share.of_segments(np.array([[part], [part]]))


@pytest.mark.parametrize(("made", "said"), [(lambda: "x", "fails .TypeError"), (lambda _: None, "is None; make it")])
def test_a_signature_is_a_text(made, said):
    with pytest.raises(DataError, match=f'The signature of the metric "mine" {said}'):
        metric(lambda _: None, signature=made).sign("1")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scales": ()}, "no scales"),
        ({"scales": (Scale("mine", "avg", mean_of(0)),)}, "of the nature corpus or mean or share"),
        ({"kinds": "instruction"}, "kinds of the metric 'mine' is a set of"),
        ({"kinds": frozenset({"chat"})}, "kinds of the metric 'mine' is a set of"),
        ({"default_for": frozenset({"chat"})}, "default_for of the metric 'mine'"),
    ],
)
def test_a_metric_that_cannot_be_is_refused_when_it_is_made(given, said):
    with pytest.raises(UsageError, match=said):
        metric(lambda _: None, **given)


@pytest.mark.parametrize("table", [METRICS, METHODS, ESTIMATORS, BASELINES, ENGINES])
def test_a_row_is_of_its_table_and_replaces_none(table):
    before = dict(table)
    taken = next(iter(table))
    for name, row, said in (
        ("mine", 3, "the row 'mine' must be a"),
        (taken, table[taken], f"there is a '{taken}' already"),
        (3, table[taken], "3 is no name"),
        ("a b", table[taken], "'a b' is no name"),
        ("../x", table[taken], "is no name"),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            table[name] = row
        with pytest.raises(UsageError, match=re.escape(said)):
            table.update({name: row})
    assert dict(table) == before


def test_a_score_has_one_metric_and_a_metric_one_name():
    with pytest.raises(UsageError, match="the metric 'bleu' has a score 'bleu' already; rename it"):
        METRICS["mine"] = metric(lambda _: None, scales=(Scale("bleu", "mean", mean_of(0)),))
    with pytest.raises(UsageError, match="the row 'other' calls itself 'mine'; give it one name"):
        METRICS["other"] = metric(lambda _: None)
    assert not {"mine", "other"} & METRICS.keys()
