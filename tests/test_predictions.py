"""Files of predictions: what is written comes back, and each fault is one sentence with file, line and fix."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketchup.errors import DataError
from ketchup.runs import append_jsonl
from ketchup_eval.predictions import Prediction, predictions_file, predictions_path, read_predictions

TEXTS = st.text(st.characters(codec="utf-8"))
PREDICTIONS = st.builds(
    Prediction,
    id=TEXTS,
    text=TEXTS,
    tokens=st.none() | st.integers(0, 1000),
    ended=st.none() | st.booleans(),
    mean_return=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)


@given(st.lists(PREDICTIONS, min_size=1, max_size=5, unique_by=lambda prediction: prediction.id))
def test_rows_come_back_as_they_were_written(tmp_path_factory, predictions):
    path = tmp_path_factory.mktemp("rows") / "test.jsonl"
    for prediction in predictions:
        append_jsonl(path, prediction.as_row())
    assert read_predictions(path) == predictions


def test_only_id_and_prediction_are_needed(tmp_path):
    path = tmp_path / "outputs.jsonl"
    path.write_bytes(b'{"id": "a", "prediction": "one\xe2\x80\xa8line", "model": "x"}\r\n{"id": "b", "prediction": ""}')
    assert read_predictions(path) == [Prediction("a", "one\u2028line"), Prediction("b", "")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "rows.jsonl is empty; write"),
        (b"\n \n", "rows.jsonl is empty; write"),
        (b'{"id": "a", "prediction": "x"}\n{"id": "a", "prediction": "y"}\n', ':2: the id "a" is also in line 1; keep'),
        (b'{"id": "a", "prediction": null}\n', ':1: the field "prediction" is null and not a string; an output'),
        (b'{"id": "a", "prediction": 12}\n', ':1: the field "prediction" is 12 and not a string; an output'),
        (b'{"id": 7, "prediction": "x"}\n', ':1: the field "id" is 7 and not a string; put it in quotes'),
        (b'{"prediction": "x"}\n', ':1: the field "id" is missing; add'),
        (b'{"id": "a"}\n', ':1: the field "prediction" is missing; add'),
        (b'{"id": "a", "prediction": "\xff"}\n', ":1: byte 28 is not UTF-8; save"),
        (b'{"id": "a", "prediction": "\\ud83d"}\n', ':1: the field "prediction" has half a surrogate'),
        (b'{"id": "a", "prediction": "x"}\n{"id": "b", "pre', ":2: this is no JSON object ("),
        (b'{"id": "a", "prediction": "x"}\n\n{"id": "b", "prediction": "y"}\n', ":2: this is no JSON object ("),
        (b"[" * 100_000, ":1: this is no row but oversized JSON ("),
        (b'["a", "x"]\n', ":1: this is no JSON object; write"),
        (b'{"id": "a", "prediction": "x", "tokens": true}\n', ':1: "tokens" is true; give'),
        (b'{"id": "a", "prediction": "x", "tokens": -1}\n', ':1: "tokens" is -1; give'),
        (b'{"id": "a", "prediction": "x", "ended": 1}\n', ':1: "ended" is 1; give'),
        (b'{"id": "a", "prediction": "x", "return": NaN}\n', ':1: "return" is NaN; give'),
    ],
)
def test_a_fault_names_file_line_and_fix(tmp_path, content, message):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_run_is_found_by_name_by_folder_and_by_file(tmp_path):
    path = predictions_path(tmp_path / "runs" / "kl", "test")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"id": "a", "prediction": "x"}))
    for name in ("kl", str(tmp_path / "runs" / "kl"), str(path)):
        assert predictions_file(name, tmp_path / "runs", "test") == path


def test_a_run_without_predictions_says_what_to_run(tmp_path):
    with pytest.raises(DataError, match=r"kl has no predictions of the validation .*`ketchup evaluate kl --split vali"):
        predictions_file("kl", tmp_path, "validation")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.jsonl cannot be read \(No such file"):
        read_predictions(tmp_path / "absent.jsonl")


def test_reading_predictions_needs_no_torch():
    script = "import sys, ketchup_eval.predictions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
