"""Text files that people bring: marks, encodings, line ends, and what is JSON though its name says otherwise."""

import codecs
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketchup.errors import DataError
from ketchup.user_files import is_json_lines, json_rows, read_text, text_field, text_lines

# No line feed, no carriage return at an end, no NUL, no mark at a start; all other characters may stand in a line.
lines_of_text = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0")).map(lambda t: t.lstrip("\ufeff")),
    min_size=1,
)


def written(folder, content):
    path = folder / "file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@given(
    lines=lines_of_text, end=st.sampled_from(["\n", "\r\n"]), mark=st.sampled_from(["", "\ufeff"]), last=st.booleans()
)
def test_lines_are_what_was_written(tmp_path_factory, lines, end, mark, last):
    """With and without a mark, CR LF, and an end of the last line; U+2028, U+0085 and their like split none."""
    lines = lines if last else [*lines, "end"]
    path = written(tmp_path_factory.mktemp("lines"), mark + end.join(lines) + end * last)
    assert list(text_lines(path)) == lines
    assert read_text(path) == "\n".join(lines) + "\n" * last


def test_joined_files_lose_the_marks_between_them(tmp_path):
    assert list(text_lines(written(tmp_path, "\ufeffa\n\ufeff\ufeffb\n\ufeff"))) == ["a", "b"]


def test_a_mark_within_a_line_is_text(tmp_path):
    row = '{"id": "\ufeffa\ufeff"}'
    assert [row for _, _, row in json_rows(written(tmp_path, "\ufeff" + row))] == [{"id": "\ufeffa\ufeff"}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ['{"id": "1"}\n', "één\n", "你好\n世界\n"])
def test_another_encoding_is_named_or_its_place_is(tmp_path, encoding, text):
    """With the mark that Python's `utf-16` and `utf-32` write, and without."""
    with pytest.raises(DataError, match=r"file(:[12])?(: byte | is UTF|: a NUL).*UTF-8"):
        list(text_lines(written(tmp_path, text.encode(encoding))))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "file is empty"),
        (codecs.BOM_UTF8, "file is empty"),
        (b"a\rb\rc", "file ends its lines with carriage returns alone"),
        (b"a\n\xe9\n", "file:2: byte 1 is not UTF-8"),
        (b"a\nb\0\n", "file:2: a NUL byte"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, fault):
    with pytest.raises(DataError, match=fault):
        list(text_lines(written(tmp_path, content)))


@pytest.mark.parametrize("name", ["", "missing"])
def test_a_folder_or_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(DataError, match="cannot be read"):
        list(text_lines(tmp_path / name))


def test_blank_lines_may_end_json_lines_but_not_break_them(tmp_path):
    path = written(tmp_path, '{"id": "1"}\r\n{"id": "2"}\n\n \t\n\r\n')
    assert [(number, place, row["id"]) for number, place, row in json_rows(path)] == [
        (0, f"{path}:1", "1"),
        (1, f"{path}:2", "2"),
    ]
    with pytest.raises(DataError, match=r"file:2: this is no JSON object but a blank line; delete it"):
        list(json_rows(written(tmp_path, '{"id": "1"}\n\n{"id": "2"}\n')))
    with pytest.raises(DataError, match="file is empty but for 2 blank lines"):
        list(json_rows(written(tmp_path, "\n\n")))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"id": "1", "prediction": "a"}\n', True),
        ('  { "id": "1"}\n{}\n', True),
        ('{"id": "1", "predic', True),  # torn
        ('progress: 3 of 3\n{"id": "1"}\n{"id": "2"}\n', True),  # a stray line is an error with its number
        ('[{"id": "1"}]\n', True),
        ("{'id': '1', 'prediction': 'a'}\n", True),
        ('["1", "a text"]\n["2", "another"]\n', True),
        ("Hervatting van de zitting\n", False),
        ('a\nb\n{"name": "c"}\n', False),  # an output that is JSON
        ("{x} is a set\n", False),
        ("[1] Smith\n[ 3 * 4 = 12 ] 12\n", False),
        ('"quoted"\n3\nnull\n', False),
        ("\n\n", False),
    ],
)
def test_what_is_in_lines_tells_whether_they_are_json(tmp_path, content, expected):
    path = written(tmp_path, content)
    assert is_json_lines(path, list(text_lines(path))) is expected


@pytest.mark.parametrize("value", [[{"id": "1", "prediction": "a"}], {"rows": ["a", "b"]}])
def test_a_json_document_is_neither(tmp_path, value):
    path = written(tmp_path, json.dumps(value, indent=2))
    with pytest.raises(DataError, match="file is one JSON document over several lines; write one object a line"):
        is_json_lines(path, list(text_lines(path)))


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({}, 'here: the field "a.b" is missing; the row has none: add or rename one'),
        ({"b;a": "x"}, 'here: the field "a.b" is missing; the row has b;a: add or rename one'),
        ({"a": {"b": None}}, 'here: the field "a.b" is missing or null'),
        ({"a": "b"}, 'here: the field "a.b" is missing or null'),
        ({"a": {"b": 3}}, 'here: the field "a.b" is not a string but 3; put it in quotes'),
        ({"a": {"b": "\ud83d"}}, "half a surrogate pair"),
    ],
)
def test_a_field_that_is_no_text_is_named(row, fault):
    with pytest.raises(DataError, match=fault):
        text_field(row, "a.b", "here")
