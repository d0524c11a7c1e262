"""Reading outputs: what is written is read back, and what cannot be used is named by file and line."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketchup.errors import DataError
from ketchup.files import append_jsonl
from ketchup_eval.predictions import Prediction, predictions_file, read_predictions

texts = st.text(st.characters(exclude_categories=["Cs"]))
predictions = st.builds(
    Prediction,
    id=texts,
    text=texts,
    tokens=st.none() | st.integers(0, 10**6),
    ended=st.none() | st.booleans(),
    mean_return=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)


@given(rows=st.lists(predictions, min_size=1, max_size=5, unique_by=lambda row: row.id))
def test_what_is_written_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "test.jsonl"
    for row in rows:
        append_jsonl(path, row.as_row())
    assert read_predictions(path) == rows


def test_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "1", "prediction": "a\\u2028b"}\r\n{"id": "2", "prediction": ""}\r\n')
    assert [row.text for row in read_predictions(path)] == ["a\u2028b", ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b'{"id": "1", "prediction": "a"}\n{"id": "1", "prediction": "b"}\n', ':2: the id "1" is also at line 1'),
        (b'{"id": "1", "prediction": null}\n', ':1: the field "prediction" is missing or null'),
        (b'{"id": "1", "prediction": 12}\n', ':1: the field "prediction" is not a string but 12'),
        (b'{"id": 1, "prediction": "a"}\n', ':1: the field "id" is not a string but 1'),
        (b'{"id": "1"}\n', ':1: the field "prediction" is missing'),
        (b'{"prediction": "1"}\n', ':1: the field "id" is missing'),
        (b'{"id": "1", "prediction": "\xff"}\n', ":1: byte 28 is not UTF-8"),
        (b'{"id": "1", "prediction": "\\ud800"}\n', "half a surrogate pair"),
        (b'{"id": "1", "predic', ":1: this is no JSON object"),
        (b'{"id": "1", "prediction": "a"}\n\n{"id": "2", "prediction": "a"}\n', ":2: this is no JSON object"),
        (b"[1]\n", "this is no JSON object but [1]"),
        (b"[" * 100_000, "this is no JSON object"),
        (b'{"id": "1", "prediction": "a", "return": NaN}\n', '"return" is NaN'),
        (b'{"id": "1", "prediction": "a", "tokens": 1.5}\n', '"tokens" is 1.5'),
        (b'{"id": "1", "prediction": "a", "tokens": true}\n', '"tokens" is true'),
        (b'{"id": "1", "prediction": "a", "ended": 1}\n', '"ended" is 1'),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path, content, message):
    path = tmp_path / "test.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_file_is_found_by_run_name_folder_and_path(tmp_path, monkeypatch):
    file = tmp_path / "runs" / "kl" / "predictions" / "test.jsonl"
    append_jsonl(file, Prediction("1", "a").as_row())
    runs = tmp_path / "runs"
    assert predictions_file("kl", runs, "test") == file
    assert predictions_file(str(runs / "kl"), tmp_path / "elsewhere", "test") == file
    assert predictions_file(str(file), tmp_path / "elsewhere", "test") == file
    with pytest.raises(DataError, match="run `ketchup evaluate kl --split validation` first"):
        predictions_file("kl", runs, "validation")


def test_reading_imports_no_torch():
    code = "import sys, ketchup_eval.predictions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_unknown_quantities_are_left_out():
    assert Prediction("1", "a").as_row() == json.loads('{"id": "1", "prediction": "a"}')
    assert Prediction("1", "a", 0, False, -1.5).as_row().keys() == {"id", "prediction", "tokens", "ended", "return"}
