"""A task from a file of one's own: every key is read, and every wrong one named with its file."""

import json
from datetime import date

import pyarrow as pa
import pytest
from pyarrow import parquet

from ketchup.errors import DataError, UsageError
from ketchup.tasks import task_named
from ketchup.tasks.base import Input
from ketchup.tasks.rows import load_inputs
from ketchup.tasks.task_file import read_task

SMALLEST = {
    "kind": "instruction",
    "rows": {"files": {"test": "test.jsonl"}},
    "fields": {"source": "question", "reference": "answer"},
    "prompt": {"chat": "Answer: {source}"},
    "lengths": {"source": 8, "output": 4},
}


def toml(content):
    """The content as TOML; JSON's scalars and lists of texts are TOML's."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in content.items() if not isinstance(value, dict)]
    for key, value in content.items():
        if isinstance(value, dict):
            inner = [f"{name} = {json.dumps(v)}" for name, v in value.items() if not isinstance(v, dict)]
            lines += [f"[{key}]", *inner]
            for name, table in value.items():
                if isinstance(table, dict):
                    lines += [f"[{key}.{name}]", *(f"{n} = {json.dumps(v)}" for n, v in table.items())]
    return "\n".join(lines) + "\n"


def write(folder, content, name="mine.toml"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else toml(content), encoding="utf-8")
    return path


def changed(**tables):
    """The smallest file with other values; a table's are added to those it has, and None takes a key away."""
    found = json.loads(json.dumps(SMALLEST))
    for name, value in tables.items():
        merged = {**found.get(name, {}), **value} if isinstance(value, dict) else value
        merged = {key: v for key, v in merged.items() if v is not None} if isinstance(merged, dict) else merged
        found[name] = merged
        if merged is None:
            del found[name]
    return found


def inputs(folder, content, rows, name="test.jsonl"):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_inputs(task_named(str(write(folder, content))), "test")


def test_what_is_left_out_has_a_default(tmp_path):
    read = task_named(str(write(tmp_path, SMALLEST)))
    assert (read.name, read.calculator, read.stop, read.metrics) == ("mine", False, (), ())
    assert (read.prompts.source, read.prompts.plain) == ("{source}", "Answer: {source}\nAnswer:")
    assert read.files == {"test": tmp_path / "test.jsonl"}


def test_rows_are_relative_to_the_file_and_numbered_without_an_id(tmp_path):
    assert inputs(tmp_path, SMALLEST, [{"question": "1+1?", "answer": "2"}]) == [Input("mine-test-0", "1+1?", "2")]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_formats_give_the_same_rows(tmp_path, suffix):
    rows = [{"id": "a", "question": 'one, "two"\nthree', "answer": "é"}, {"id": "b", "question": "x", "answer": "y"}]
    file = tmp_path / f"test{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), file)
    elif suffix == ".csv":
        file.write_text('id,question,answer\n"a","one, ""two""\nthree",é\r\n\nb,x,y\n', encoding="utf-8")
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = task_named(str(write(tmp_path, changed(rows={"files": {"test": file.name}}))))
    wanted = [Input(row["id"], row["question"], row["answer"]) for row in rows]
    assert load_inputs(read, "test") == wanted


def test_whole_numbers_are_ids_in_parquet(tmp_path):
    rows = [{"id": 7, "question": "x", "answer": "y"}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    read = task_named(str(write(tmp_path, changed(rows={"files": {"test": "test.parquet"}}))))
    assert [one.id for one in load_inputs(read, "test")] == ["7"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "id,id\n1,2\n", r"a\.csv:1: two columns are called 'id'; rename one"),
        ("a.csv", "question,answer\nx,y\nx\n", r"a\.csv:3: 1 values for 2 columns; mend the row"),
        ("a.csv", 'question,answer\n"x" y,z\n', r"a\.csv:2: this is no CSV \(.*\); mend the row"),
        ("a.csv", "question,reply\nx,y\n", r'a\.csv:2: the field "answer" is missing; the row has question, reply'),
        ("a.csv", "question;answer\nx;y\n", r'a\.csv:2: the field "answer" is missing; the row has question;answer'),
        ("a.csv", "question,answer\n", r"a\.csv has no rows; check the name, or fill it"),
        ("a.csv", "\n\n", r"a\.csv has no rows"),
        ("a.parquet", "no", r"a\.parquet is no parquet file that can be read"),
        ("b.csv", "", r"a\.csv is missing; check the name, which is relative to the task's file"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path, name, content, sentence):
    (tmp_path / name).write_text(content)
    wanted = "a.parquet" if name == "a.parquet" else "a.csv"
    read = task_named(str(write(tmp_path, changed(rows={"files": {"test": wanted}}))))
    with pytest.raises(DataError, match=sentence):
        load_inputs(read, "test")


def test_a_source_may_have_several_parts_and_empty_ones_are_left_out(tmp_path):
    content = changed(fields={"source": ["{question}", "Text: {info.text}"]})
    rows = [
        {"question": "Who?", "info": {"text": "Ann did."}, "answer": "Ann"},
        {"question": "Who?", "info": {"text": ""}, "answer": "Ann"},
        {"question": "Who?", "info": {"text": None}, "answer": "Ann"},
    ]
    found = inputs(tmp_path, content, rows)
    assert [one.source for one in found] == ["Who?\n\nText: Ann did.", "Who?", "Who?"]
    with pytest.raises(DataError, match=r'test\.jsonl:1: the field "info\.text" is missing'):
        inputs(tmp_path, content, [{"question": "Who?", "answer": "Ann"}])
    with pytest.raises(DataError, match=r"test\.jsonl:1: .* are all empty; fill it in"):
        inputs(tmp_path, content, [{"question": "", "info": {"text": ""}, "answer": "Ann"}])


@pytest.mark.parametrize(
    ("field", "row"), [("answers", {"answers": ["a", "", "b"]}), (["one", "two"], {"one": "a", "two": "b"})]
)
def test_references_may_be_several(tmp_path, field, row):
    content = changed(fields={"reference": None, "references": field})
    (found,) = inputs(tmp_path, content, [{"question": "q", **row}])
    assert found.references == ("a", "b")
    assert (found.reference, found.answer) == ("a", ["a", "b"])


def test_references_may_stand_inside_another_field(tmp_path):
    """As SQuAD has them."""
    content = changed(fields={"reference": None, "references": "answers.text"})
    (found,) = inputs(tmp_path, content, [{"question": "q", "answers": {"text": ["a", "b"]}}])
    assert found.references == ("a", "b")


def test_names_of_files_end_in_any_case_and_values_may_be_long(tmp_path):
    """Python's own limit of a CSV value is 131,072 characters."""
    (tmp_path / "T.CSV").write_text(f"question,answer\n{'a ' * 100_000},2\n", encoding="utf-8-sig")
    read = task_named(str(write(tmp_path, changed(rows={"files": {"test": "T.CSV"}}))))
    assert [len(one.source) for one in load_inputs(read, "test")] == [200_000]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"a", """the field "answer" is not a string but "b'a'"; put it in quotes"""),
        (date(2020, 1, 2), 'the field "answer" is not a string but "2020-01-02"; put it in quotes'),
        (["a"], r'the field "answer" is not a string but \["a"\]; put it in quotes'),
        (None, 'the field "answer" is missing or null'),
        (float("nan"), 'the field "answer" is not a string but NaN'),
    ],
)
def test_values_of_parquet_that_are_no_text_are_named(tmp_path, answer, sentence):
    parquet.write_table(pa.Table.from_pylist([{"question": "q", "answer": answer}]), tmp_path / "t.parquet")
    for fields, said in (({}, sentence), ({"reference": None, "references": "answer"}, 'the field "answer"')):
        read = task_named(str(write(tmp_path, changed(rows={"files": {"test": "t.parquet"}}, fields=fields))))
        if answer != ["a"] or not fields:
            with pytest.raises(DataError, match=f"t.parquet row 0: {said}"):
                load_inputs(read, "test")


def test_a_parquet_file_without_rows_is_named(tmp_path):
    parquet.write_table(pa.table({"question": pa.array([], pa.string())}), tmp_path / "t.parquet")
    read = task_named(str(write(tmp_path, changed(rows={"files": {"test": "t.parquet"}}))))
    with pytest.raises(DataError, match=r"t\.parquet has no rows"):
        load_inputs(read, "test")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"answers": "a"}, 'the field "answers" is no list of references but "a"; make it one'),
        ({"answers": [""]}, 'the field "answers" is empty; give the row a reference'),
        ({"answers": [1]}, 'the field "answers" is not a string but 1'),
    ],
)
def test_wrong_references_are_named(tmp_path, row, sentence):
    content = changed(fields={"reference": None, "references": "answers"})
    with pytest.raises(DataError, match=sentence):
        inputs(tmp_path, content, [{"question": "q", **row}])


def test_sources_may_be_absent(tmp_path):
    content = changed(fields={"source": None}, prompt={"chat": "Write a poem."})
    found = inputs(tmp_path, content, [{"answer": "Roses"}, {"answer": "Violets"}])
    assert [(one.source, one.reference) for one in found] == [("", "Roses"), ("", "Violets")]
    assert task_named(str(tmp_path / "mine.toml")).prompts.source == ""


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("kind = x", r"mine\.toml is no TOML \(.*line 1.*\); mend it there"),
        (
            changed(lenghts={"source": 1}),
            r"mine\.toml: lenghts\.source is no key of a task: did you mean lengths",
        ),
        (changed(metric=["bleu"]), r"mine\.toml: metric is no key of a task: did you mean metrics"),
        (changed(fields={"target": "x"}), r"mine\.toml: fields\.target is no key"),
        (changed(kind="translate"), r"mine\.toml: kind is 'translate': did you mean translation, of reasoning, "),
        (changed(kind=None), r"mine\.toml: kind is missing; add it"),
        (changed(kind=["x"]), r"mine\.toml: kind must be a text, not \['x'\]"),
        (changed(calculator="yes"), r"mine\.toml: calculator must be true or false, not 'yes'"),
        (changed(lengths={"output": True}), r"mine\.toml: lengths\.output must be a whole number, not True"),
        (changed(lengths={"output": 1.5}), r"mine\.toml: lengths\.output must be a whole number, not 1\.5"),
        (changed(lengths={"output": 0}), r"mine\.toml: lengths\.output must be at least 1, not 0"),
        (changed(lengths={"output": None}), r"mine\.toml: lengths\.output is missing; add it"),
        (changed(stop=[""]), r"mine\.toml: stop has an empty text"),
        (changed(stop=[1]), r"mine\.toml: stop must be a list of texts, not \[1\]"),
        (changed(metrics=[]), r"mine\.toml: metrics is empty; name at least one"),
        (changed(rows=None), r"mine\.toml: rows are missing; say by one of hub, files and generator"),
        (changed(rows={"hub": "x"}), r"mine\.toml: rows are rows\.hub and rows\.files; say by one of"),
        (
            changed(rows={"revision": "x"}),
            r"mine\.toml: rows\.revision goes with rows\.hub, and rows come from",
        ),
        (changed(rows={"files": None, "hub": "x"}), r"mine\.toml: rows\.splits is missing; say which split"),
        (changed(rows={"files": {"dev": "x"}}), r"mine\.toml: rows\.files\.dev is no key"),
        (
            changed(rows={"files": {"test": "x.txt"}}),
            r"mine\.toml: rows\.files\.test is 'x\.txt'; its name",
        ),
        (changed(rows={"files": {}}), r"mine\.toml: rows\.files is empty; fill it in"),
        (changed(rows={"files": None, "generator": "dmo"}), r"mine\.toml: rows\.generator is 'dmo': did you mean demo"),
        (changed(rows="x"), r"mine\.toml: rows is a table of keys; write it as \[rows\]"),
        (changed(fields={"reference": None}), r"mine\.toml: fields must have one of reference .* and references"),
        (changed(fields={"references": "x"}), r"mine\.toml: fields must have one of reference .* and references"),
        (changed(fields={"source": ["x"]}), r"mine\.toml: fields\.source has 'x', which names no \{field\}"),
        (changed(fields={"source": "{x}"}), r"mine\.toml: fields\.source is '\{x\}'; write a field's name alone"),
        (changed(fields={"source": 3}), r"mine\.toml: fields\.source must be a field's name, or a list"),
        (
            changed(prompt={"chat": "x"}),
            r"mine\.toml: prompt\.chat must have \{source\} once and no other",
        ),
        (changed(prompt={"chat": "{question}"}), r"mine\.toml: prompt\.chat must have \{source\} once .* \{question\}"),
        (changed(prompt={"chat": "{source"}), r"mine\.toml: prompt\.chat is no template \(.*\); write a brace"),
        (changed(prompt={"chat": "{source!r}"}), r"mine\.toml: prompt\.chat has \{source\}, which is not just a name"),
        (changed(prompt={"chat": None, "source": "{source}"}), r"mine\.toml: prompt has neither chat"),
        (changed(fields={"source": None}), r"mine\.toml: prompt\.chat must have no \{field\}, and has \{source\}"),
        ('"rows.hub" = "x"', r'mine\.toml: "rows\.hub" is no key'),
    ],
)
def test_whatever_is_wrong_is_one_sentence_with_file_and_key(tmp_path, content, sentence):
    path = write(tmp_path, content)
    with pytest.raises(UsageError, match=sentence) as caught:
        task_named(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.toml cannot be read \(No such file"):
        task_named(str(tmp_path / "none.toml"))


def test_a_split_without_a_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"mine\.toml: rows\.files has no train rows; add train = FILE, or pass --data"):
        load_inputs(read_task(write(tmp_path, SMALLEST)), "train")
