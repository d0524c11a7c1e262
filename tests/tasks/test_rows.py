import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ketchup.errors import DataError, UsageError
from ketchup.tasks import task_named
from ketchup.tasks.base import Input
from ketchup.tasks.rows import DEFAULT_GENERATED, load_inputs, partial_inputs
from ketchup.user_files import PlacedRow

ARTICLE = {"id": "7", "document": "It rained.", "summary": "Rain."}


def write(folder: Path, *lines: bytes | dict, name: str = "test.jsonl") -> Path:
    """A data folder whose file has the given lines."""
    text = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    (folder / name).write_bytes(text + b"\n" if text else b"")
    return folder


def article(**changes) -> dict:
    return ARTICLE | changes


def test_local_rows_become_examples_in_their_order(tmp_path) -> None:
    data = write(tmp_path, article(), article(id="8", document="Sun. \n"))
    assert load_inputs(task_named("xsum"), "test", data) == [
        Input(id="7", source="It rained.", reference="Rain."),
        Input(id="8", source="Sun. \n", reference="Rain."),
    ]


def test_dotted_fields_and_row_numbers_for_ids(tmp_path) -> None:
    rows = [{"translation": {"en": english, "nl": "Ja"}} for english in ("Yes", "Sure")]
    assert load_inputs(task_named("europarl"), "test", write(tmp_path, *rows)) == [
        Input(id="europarl-test-0", source="Yes", reference="Ja"),
        Input(id="europarl-test-1", source="Sure", reference="Ja"),
    ]


def test_an_id_is_honoured_by_every_task(tmp_path) -> None:
    rows = [{"id": "mine", "question": "1+1?", "answer": "#### 2"}, {"question": "2+2?", "answer": "#### 4"}]
    assert [row.id for row in load_inputs(task_named("gsm8k"), "test", write(tmp_path, *rows))] == [
        "mine",
        "gsm8k-test-1",
    ]
    with pytest.raises(
        DataError, match=r'test\.jsonl:3: the id "mine" is also at .*test\.jsonl:1; give each row its own'
    ):
        load_inputs(task_named("gsm8k"), "test", write(tmp_path, *rows, rows[0]))
    with pytest.raises(DataError, match=r'test\.jsonl:1: the field "id" is not a string but 7; put it in quotes'):
        load_inputs(task_named("gsm8k"), "test", write(tmp_path, rows[0] | {"id": 7}))


def test_a_byte_order_mark_and_blank_lines_at_the_end_are_no_rows(tmp_path) -> None:
    data = write(tmp_path, b"\xef\xbb\xbf" + json.dumps(ARTICLE).encode(), b"", b" \r")
    assert [one.id for one in load_inputs(task_named("xsum"), "test", data)] == ["7"]


def test_rows_of_a_file_may_lack_what_is_not_needed() -> None:
    def inputs(needed, *rows):
        placed = [PlacedRow(number, f"f:{number + 1}", row) for number, row in enumerate(rows)]
        return list(partial_inputs(task_named("europarl"), "test", placed, needed))

    assert inputs("reference", {"translation": {"nl": "Ja"}}, {"id": "x", "reference": "Nee", "source": "No"}) == [
        Input("europarl-test-0", "", "Ja"),
        Input("x", "No", "Nee"),
    ]
    assert inputs("source", {"translation": {"en": "Yes"}}) == [Input("europarl-test-0", "Yes", "")]
    with pytest.raises(DataError, match=r'f:1: the field "reference" is missing'):
        inputs("reference", {"source": "No"})
    with pytest.raises(DataError, match=r'f:2: the id "x" is also at f:1'):
        inputs("source", {"id": "x", "source": "a"}, {"id": "x", "source": "b"})


def test_a_limit_takes_the_first_rows_and_may_exceed_them(tmp_path) -> None:
    data = write(tmp_path, article(), article(id="8"), b"never read")
    assert [one.id for one in load_inputs(task_named("xsum"), "test", data, limit=2)] == ["7", "8"]
    data = write(tmp_path, article(), article(id="8"))
    assert len(load_inputs(task_named("xsum"), "test", data, limit=100)) == 2


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_a_usage_error(tmp_path, limit) -> None:
    with pytest.raises(UsageError, match=rf"--limit must be at least 1, not {limit}"):
        load_inputs(task_named("xsum"), "test", write(tmp_path, article()), limit=limit)


def test_only_line_feeds_end_a_row(tmp_path) -> None:
    row = json.dumps(article(document="one\u2028two\x85three"), ensure_ascii=False).encode()
    assert load_inputs(task_named("xsum"), "test", write(tmp_path, row))[0].source == "one\u2028two\x85three"


def test_the_last_line_needs_no_line_feed(tmp_path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps(ARTICLE))
    assert len(load_inputs(task_named("xsum"), "test", tmp_path)) == 1


def test_a_reference_may_be_empty(tmp_path) -> None:
    assert load_inputs(task_named("xsum"), "test", write(tmp_path, article(summary="")))[0].reference == ""


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"id": "8", ', r"test\.jsonl:2: this is no JSON object \(.* column 13 .*\); mend the line or delete it"),
        (b"", r"test\.jsonl:2: this is no JSON object but a blank line; delete it"),
        (b"[1, 2]", r"test\.jsonl:2: this is no JSON object but \[1, 2\]; mend the line or delete it"),
        (b"[" * 100_000, r"test\.jsonl:2: this is no JSON object \(nested too deeply\)"),
        (b'{"id": ' + b"9" * 5000 + b"}", r"test\.jsonl:2: this is no JSON object \(Exceeds the limit"),
        (b'{"id": "caf\xe9"}', r"test\.jsonl:2: byte 12 is not UTF-8; save"),
        ({"id": "8", "summary": "s"}, r'test\.jsonl:2: the field "document" is missing; the row has id, summary: add'),
        (article(id="8", document=None), r'test\.jsonl:2: the field "document" is missing or null'),
        ({"document": "d", "summary": "s"}, r'test\.jsonl:2: the field "id" is missing'),
        (article(id=8), r'test\.jsonl:2: the field "id" is not a string but 8; put it in quotes'),
        (article(id="8", summary=["s"]), r'test\.jsonl:2: the field "summary" is not a string but \["s"\]'),
        (article(id="8", document=""), r'test\.jsonl:2: the field "document" is empty; fill it in'),
        (article(id="8", document=" \n"), r'test\.jsonl:2: the field "document" is empty'),
        (article(id="8", document="\ud83d"), r'test\.jsonl:2: the field "document" has half a surrogate pair'),
        (article(), r'test\.jsonl:2: the id "7" is also at .*test\.jsonl:1; give each row its own'),
    ],
)
def test_a_fault_in_a_row_is_one_sentence_with_file_line_and_fix(tmp_path, line, fault) -> None:
    data = write(tmp_path, ARTICLE, line, article(id="9"))
    with pytest.raises(DataError, match=fault) as caught:
        load_inputs(task_named("xsum"), "test", data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("row", [{"translation": {"en": "Yes"}}, {"translation": "Yes"}, {}])
def test_a_missing_nested_field_is_named_in_full(tmp_path, row) -> None:
    row = {"source": "x"} | row
    with pytest.raises(DataError, match=r'test\.jsonl:1: the field "translation\.(en|nl)" is missing'):
        load_inputs(task_named("europarl"), "test", write(tmp_path, row))


def test_a_missing_folder_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a folder: --data takes the folder that holds train\.jsonl"):
        load_inputs(task_named("xsum"), "train", tmp_path / "nowhere")


def test_a_file_for_a_folder_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match=r"test\.jsonl is not a folder"):
        load_inputs(task_named("xsum"), "test", write(tmp_path, ARTICLE) / "test.jsonl")


def test_a_missing_split_lists_what_there_is(tmp_path) -> None:
    with pytest.raises(DataError, match=r"test\.jsonl is missing: .* \(no \.jsonl file\)"):
        load_inputs(task_named("xsum"), "test", tmp_path)
    write(tmp_path, ARTICLE, name="validation.jsonl")
    write(tmp_path, ARTICLE, name="train.jsonl")
    with pytest.raises(DataError, match=r"test\.jsonl is missing: .* \(train\.jsonl, validation\.jsonl\)"):
        load_inputs(task_named("xsum"), "test", tmp_path)


def test_an_empty_file_is_an_error(tmp_path) -> None:
    with pytest.raises(DataError, match=r"test\.jsonl is empty; check the name, or fill it"):
        load_inputs(task_named("xsum"), "test", write(tmp_path))


def test_a_file_that_cannot_be_opened_is_named(tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    data = write(tmp_path, ARTICLE)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"test\.jsonl cannot be read \(Permission denied\); check the name"):
        load_inputs(task_named("xsum"), "test", data)


def test_generated_rows_stop_at_the_limit_or_the_default() -> None:
    assert [one.id for one in load_inputs(task_named("demo"), "train", limit=2)] == [
        "demo-train-0",
        "demo-train-1",
    ]
    assert len(load_inputs(task_named("demo"), "train")) == DEFAULT_GENERATED


def test_local_rows_take_the_place_of_generated_ones(tmp_path) -> None:
    data = write(tmp_path, {"id": "mine", "question": "How many?", "answer": "#### 2"})
    assert load_inputs(task_named("demo"), "test", data) == [Input(id="mine", source="How many?", reference="#### 2")]


@pytest.fixture
def hub(monkeypatch):
    """Replaces the hub: `hub(rows_or_error)` says what `load_dataset` gives; returns the list of its calls."""
    calls = []

    def install(outcome) -> list:
        def load_dataset(*args, **kwargs):
            calls.append((args, kwargs))
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        package, module = ModuleType("datasets"), ModuleType("datasets.load")
        module.load_dataset = load_dataset
        monkeypatch.setitem(sys.modules, "datasets", package)
        monkeypatch.setitem(sys.modules, "datasets.load", module)
        return calls

    return install


def test_hub_rows_come_from_the_tasks_own_split(hub) -> None:
    calls = hub([{"question": "How many?", "answer": "#### 2"}] * 3)
    inputs = load_inputs(task_named("gsm8k"), "test", limit=2)
    assert [one.id for one in inputs] == ["gsm8k-test-0", "gsm8k-test-1"]
    assert calls == [(("openai/gsm8k", "main"), {"split": "test"})]


def test_hub_rows_without_a_source_are_left_out_and_counted(hub, caplog) -> None:
    hub([{"translation": {"en": english, "nl": "Ja"}} for english in ("Yes", " ", "", None, "Sure")])
    inputs = load_inputs(task_named("europarl"), "test")
    assert [one.id for one in inputs] == ["europarl-test-0", "europarl-test-4"]
    assert "3 rows without a source are left out" in caplog.text


def test_other_faults_of_hub_rows_are_errors(hub) -> None:
    hub([ARTICLE, ARTICLE])
    with pytest.raises(
        DataError, match=r'EdinburghNLP/xsum test row 1: the id "7" is also at EdinburghNLP/xsum test row 0'
    ):
        load_inputs(task_named("xsum"), "test")


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ConnectionError("no route\nand more"), "no route"), (RuntimeError(), "RuntimeError")],
)
def test_a_failing_hub_points_to_local_rows(hub, error, reason) -> None:
    hub(error)
    expected = rf"EdinburghNLP/xsum cannot be loaded from the hub \({reason}\): pass local rows with --data DIR"
    with pytest.raises(DataError, match=expected):
        load_inputs(task_named("xsum"), "test")


def test_validation_rows_of_gsm8k_must_be_local(hub) -> None:
    calls = hub([])
    with pytest.raises(DataError, match=r"gsm8k has no validation rows on the hub: .* --data DIR, as DIR/validation"):
        load_inputs(task_named("gsm8k"), "validation")
    assert calls == []
