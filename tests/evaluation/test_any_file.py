"""Outputs and references in files of any form: scored, compared and judged alike, whatever they are called."""

import json
from pathlib import Path

import pytest
from sacrebleu.metrics import BLEU

from ketchup_eval.predictions import read_predictions
from tests.evaluation.given import ketchup, plain, write

SOURCES = ["Resumption of the session", "It is a fine day in Strasbourg", "This is the third answer of the test"]
REFERENCES = [
    "Hervatting van de zitting",
    "Het is een mooie dag in Straatsburg",
    "Dit is het derde antwoord van de proef",
]
OUTPUTS = {
    "a": ["Hervatting van de vergadering", "Het is een mooie dag in Brussel", "Dit is het derde antwoord van de test"],
    "b": ["Hervatting van de vergadering", REFERENCES[1], "Dit is het derde antwoord van de test"],
}
BLEU_OF = {name: BLEU().corpus_score(texts, [REFERENCES]).score for name, texts in OUTPUTS.items()}
"""By sacrebleu itself: 77.91 and 85.32."""


def json_lines(field, texts, ids="europarl-test-{}"):
    rows = [{field: text} | ({"id": ids.format(number)} if ids else {}) for number, text in enumerate(texts)]
    return "".join(json.dumps(row) + "\n" for row in rows)


def hub_rows(sources=SOURCES):
    rows = [{"translation": {"en": en, "nl": nl}} for en, nl in zip(sources, REFERENCES, strict=True)]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write("data/test.jsonl", hub_rows())
    write("ref.txt", plain(REFERENCES))
    write("src.txt", plain(SOURCES))
    for name, texts in OUTPUTS.items():
        write(f"{name}.txt", plain(texts))
        write(f"{name}.jsonl", json_lines("prediction", texts))
    return tmp_path


def evaluate(file, *rows, name=None):
    """BLEU of a file."""
    words = ["--task", "europarl", "--metrics", "bleu", "--json", *(["--name", name] if name else [])]
    done = ketchup("evaluate", "--predictions", file, *rows, *words)
    assert done.exit_code == 0, done.output
    (content,) = json.loads(done.stdout).values()
    return content["scores"]["bleu"]["value"]


IN_FILE, IN_FOLDER = ("--references", "ref.txt"), ("--data", "data")


@pytest.mark.parametrize("suffix", ["jsonl", "JSONL", "ndjson", "json", "txt", "out"])
def test_json_lines_are_known_by_what_is_in_them(folder, suffix):
    write(f"out.{suffix}", json_lines("prediction", OUTPUTS["a"]))
    assert evaluate(f"out.{suffix}", *IN_FOLDER) == pytest.approx(BLEU_OF["a"])


def test_plain_lines_may_be_called_json_lines(folder):
    write("out.jsonl", plain(OUTPUTS["a"]))
    assert evaluate("out.jsonl", *IN_FOLDER) == pytest.approx(BLEU_OF["a"])


@pytest.mark.parametrize(
    "references",
    [
        plain(REFERENCES),
        "\ufeff" + plain(REFERENCES),
        plain(REFERENCES).replace("\n", "\r\n"),
        plain(REFERENCES) + "\n\n",
        plain(REFERENCES)[:-1],
        hub_rows(),
        "\ufeff" + hub_rows() + "\n",
        json_lines("reference", REFERENCES, ids=None),
        json_lines("reference", REFERENCES),
    ],
)
@pytest.mark.parametrize("outputs", ["a.txt", "marked.txt", "crlf.txt", "blank.txt"])
def test_references_may_be_plain_or_json_lines(folder, references, outputs):
    write("marked.txt", "\ufeff" + plain(OUTPUTS["a"]))
    write("crlf.txt", plain(OUTPUTS["a"]).replace("\n", "\r\n"))
    write("blank.txt", plain(OUTPUTS["a"]) + "\n \n")
    write("given", references)
    assert evaluate(outputs, "--references", "given") == pytest.approx(BLEU_OF["a"])


def test_json_lines_go_with_json_references_by_id(folder):
    write("shuffled.json", json_lines("prediction", OUTPUTS["a"], ids="mine-{}"))
    rows = json_lines("reference", REFERENCES, ids="mine-{}").splitlines(keepends=True)
    write("given", "".join(reversed(rows)))
    assert evaluate("shuffled.json", "--references", "given") == pytest.approx(BLEU_OF["a"])


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (plain(OUTPUTS["a"][:2]), "out has 2 lines for 3 inputs; write one line per input"),
        (plain([*OUTPUTS["a"], "more"]), "out has 4 lines for 3 inputs"),
        (json_lines("prediction", OUTPUTS["a"]), '3 missing ("1", "2", "3"), 3 extra ("europarl-test-0" at line 1, '),
        (json_lines("prediction", OUTPUTS["a"]).replace("id", "ID"), 'out:1: the field "id" is missing'),
        ("Loading\n" + json_lines("prediction", OUTPUTS["a"]), "out:1: this is no JSON object"),
        (json.dumps([{"id": "1", "prediction": "x"}], indent=1), "out is one JSON document over several lines"),
    ],
)
def test_outputs_that_do_not_fit_are_named(folder, outputs, message):
    write("out", outputs)
    done = ketchup("evaluate", "--predictions", "out", "--task", "europarl", *IN_FILE)
    assert done.exit_code == 1
    assert message in done.stderr


def test_rows_come_from_one_place(folder):
    done = ketchup("evaluate", "--predictions", "a.txt", "--task", "europarl", *IN_FILE, *IN_FOLDER)
    assert done.exit_code == 2
    assert "give one of them" in done.stderr


# Compared


def compared(*words):
    done = ketchup("compare", *words, "--metrics", "bleu", "--json")
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)["comparisons"]
    return row["value_a"], row["value_b"]


@pytest.mark.parametrize("rows", [IN_FILE, IN_FOLDER, ("--references", "data/test.jsonl")])
def test_runs_of_plain_lines_are_compared(folder, rows):
    for name in OUTPUTS:
        evaluate(f"{name}.txt", *rows, name=name.upper())
    expected = (pytest.approx(BLEU_OF["a"]), pytest.approx(BLEU_OF["b"]))
    assert compared("--a", "A", "--b", "B") == expected
    assert compared("--a", "A", "--b", "B", *IN_FOLDER) == expected


def test_files_are_compared_without_an_evaluation(folder):
    expected = (pytest.approx(BLEU_OF["a"]), pytest.approx(BLEU_OF["b"]))
    assert compared("--a", "a.txt", "--b", "b.txt", "--task", "europarl", *IN_FILE) == expected
    assert compared("--a", "a.txt", "--b", "b.jsonl", "--task", "europarl", *IN_FOLDER) == expected


def test_plain_lines_take_the_ids_of_rows_and_of_json_references(folder):
    evaluate("a.txt", *IN_FOLDER)
    assert read_predictions(folder / "runs/a/predictions/test.jsonl")[0].id == "europarl-test-0"
    evaluate("b.txt", "--references", "ref.txt")
    assert [row.id for row in read_predictions(folder / "runs/b/predictions/test.jsonl")] == ["1", "2", "3"]


def test_a_limit_counts_lines_of_references(folder):
    write("two.txt", plain(OUTPUTS["a"][:2]))
    score = evaluate("two.txt", *IN_FILE, "--limit", 2)
    assert score == pytest.approx(BLEU().corpus_score(OUTPUTS["a"][:2], [REFERENCES[:2]]).score)


# Judged


def prompts(*words):
    """What the judge would be asked first."""
    done = ketchup("judge", *words, "--criteria", "overall", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "3 items" in done.stdout
    return done.stdout


@pytest.mark.parametrize(
    ("evaluated_on", "rows"),
    [
        (IN_FOLDER, ()),
        (("--references", "data/test.jsonl"), ()),
        (IN_FILE, IN_FOLDER),
        (IN_FILE, ("--sources", "src.txt")),
        (IN_FILE, ("--references", "data/test.jsonl")),
    ],
)
def test_runs_of_plain_lines_are_judged(folder, evaluated_on, rows):
    for name in OUTPUTS:
        evaluate(f"{name}.txt", *evaluated_on, name=name.upper())
    assert "Source: It is a fine day in Strasbourg" in prompts("--a", "A", "--b", "B", *rows)


@pytest.mark.parametrize("rows", [IN_FOLDER, ("--sources", "src.txt"), ("--sources", "data/test.jsonl")])
def test_files_of_plain_lines_are_judged(folder, rows):
    words = ("--a", "a.txt", "--b", "b.txt", "--task", "europarl", *rows)
    assert "Source: It is a fine day in Strasbourg" in prompts(*words)


def test_a_judge_needs_sources(folder):
    for name in OUTPUTS:
        evaluate(f"{name}.txt", *IN_FILE, name=name.upper())
    done = ketchup("judge", "--a", "A", "--b", "B", "--dry-run")
    assert done.exit_code == 1
    assert (
        'ref.txt: the item "1" has no source, which the judge is shown; name a file of sources with --sources'
        in done.stderr
    )


def test_marks_of_preferences_are_no_text(folder):
    people = json.dumps({"id": "europarl-test-1", "preferred": "a"}) + "\r\n"
    words = ["--a", "a.txt", "--b", "b.txt", "--task", "europarl", "--data", "data", "--human", "people"]
    write("people", "\ufeff" + people + "\n")
    prompts(*words)
    Path("people").write_bytes(people.encode("utf-16"))
    done = ketchup("judge", *words, "--dry-run")
    assert done.exit_code == 1
    assert "people is UTF-16; save it as UTF-8" in done.stderr


def test_marks_of_prompts_are_no_text(folder):
    from ketchup_eval.judge.criteria import CHECKOUT

    text = (CHECKOUT / "translation/overall.txt").read_text()
    (folder / "prompts/translation").mkdir(parents=True)
    write("prompts/translation/overall.txt", "\ufeff" + text.replace("\n", "\r\n"))
    words = ["--a", "a.txt", "--b", "b.txt", "--task", "europarl", "--data", "data"]
    assert prompts(*words, "--prompts", "prompts") == prompts(*words)
