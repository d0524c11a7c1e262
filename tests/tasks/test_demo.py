import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from itertools import islice

import pytest

from ketchup.tasks import demo, task_named
from ketchup.tasks.answers import extract_answer
from ketchup.tasks.calculator import evaluate, forced_text
from ketchup.tasks.spaced import spaced

SPLITS = ("train", "validation", "test")
STEP = re.compile(r"([0-9]+[-+*/][0-9]+)=<<([0-9]+[-+*/][0-9]+)=([0-9]+)>>([0-9]+)")


@pytest.fixture(scope="module")
def rows() -> dict[str, list]:
    return {split: list(islice(demo.generate(split), 3000 if split == "train" else 400)) for split in SPLITS}


def lines(row) -> list[str]:
    return row["answer"].split("\n")


def test_splits_share_no_question_and_those_for_measuring_repeat_none(rows) -> None:
    questions = {split: {row["question"] for row in rows[split]} for split in SPLITS}
    assert not questions["train"] & questions["validation"]
    assert not questions["train"] & questions["test"]
    assert not questions["validation"] & questions["test"]
    for split in ("validation", "test"):
        assert len(questions[split]) == len(rows[split])
    for split in SPLITS:
        assert {demo.split_of(question) for question in questions[split]} == {split}


@pytest.mark.parametrize(
    ("question", "split"), [("How many?", "train"), ("Question 4", "test"), ("Question 16", "validation")]
)
def test_the_split_of_a_question_never_changes(question: str, split: str) -> None:
    """The demo models have not seen what is test today, so it must be test in every version."""
    assert demo.split_of(question) == split


def test_a_question_that_is_drawn_twice_is_given_once(monkeypatch) -> None:
    drawn = iter(["same", "same", "other"])
    monkeypatch.setattr(demo, "problem", lambda _: (next(drawn), "#### 2"))
    monkeypatch.setattr(demo, "split_of", lambda _: "test")
    assert [row["question"] for row in islice(demo.generate("test"), 2)] == ["same", "other"]


def test_rows_are_numbered_within_their_split(rows) -> None:
    for split in SPLITS:
        assert [row["id"] for row in rows[split][:3]] == [f"demo-{split}-{number}" for number in range(3)]


def test_another_process_generates_the_same_rows(rows) -> None:
    program = (
        "from itertools import islice; from ketchup.tasks.demo import generate; print([*islice(generate('test'), 3)])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(rows["test"][:3])


def test_every_number_of_steps_occurs_equally_often(rows) -> None:
    counts = Counter(len(lines(row)) - 1 for row in rows["train"])
    assert set(counts) == {1, 2, 3, 4}
    # 3000 draws: a share of 1/4 has a standard error of 0.008.
    assert all(abs(count / 3000 - 1 / 4) < 0.04 for count in counts.values())


def test_answers_are_right_and_small_and_end_as_in_gsm8k(rows) -> None:
    for row in (*rows["train"], *rows["validation"], *rows["test"]):
        *steps, final = lines(row)
        results = []
        for line in steps:
            (outer, inner, result, repeated) = STEP.search(line).groups()
            assert outer == inner
            assert result == repeated
            assert evaluate(inner) == Fraction(result)
            assert len(re.findall("[A-Za-z]+", line)) <= 6
            results.append(int(result))
        assert all(1 <= result <= demo.LARGEST_VALUE for result in results)
        assert final == f"#### {results[-1]}"
        assert extract_answer(row["answer"]) == results[-1]


def test_steps_follow_the_question_and_need_all_of_its_numbers(rows) -> None:
    """Each step starts from the result before; the other operands are the question's numbers in their order."""
    for row in rows["train"]:
        operands = [re.split(r"[-+*/]", inner) for _, inner, _, _ in STEP.findall(row["answer"])]
        results = [result for _, _, result, _ in STEP.findall(row["answer"])]
        assert [first for first, _ in operands[1:]] == results[:-1]
        assert re.findall("[0-9]+", row["question"]) == [operands[0][0], *(second for _, second in operands)]


@pytest.mark.parametrize("form", ["native", "spaced"])
def test_the_calculator_forces_every_result_in_both_forms(rows, form) -> None:
    opening = r"<<[^=]*=" if form == "native" else r"\[ [^=]*="
    for row in rows["test"]:
        text = task_named("demo").text(row["answer"], form)
        openings = list(re.finditer(opening, text))
        assert len(openings) == len(lines(row)) - 1
        for found in openings:
            forced = forced_text(text[: found.end()])
            assert forced is not None
            assert text[found.end() :].startswith(forced)


def test_the_spaced_form_keeps_the_answer(rows) -> None:
    for row in rows["test"]:
        assert extract_answer(spaced(row["answer"])) == extract_answer(row["answer"])
        assert "\n" not in spaced(row["answer"])


def test_texts_fit_the_lengths_and_a_small_vocabulary(rows) -> None:
    """Lengths in the tokens of the smallest sensible vocabulary: a token for a word, a digit, a sign."""
    token = re.compile(r"[A-Za-z]+|[0-9]|<<|>>|####|\S|\n")
    words = set()
    for row in (*rows["train"], *rows["test"]):
        end_of_text = 1
        assert len(token.findall(row["question"])) + end_of_text <= task_named("demo").max_prompt_tokens
        assert len(token.findall(row["answer"])) + end_of_text <= task_named("demo").max_new_tokens
        assert 10 <= len(row["question"].split()) <= 60
        words.update(re.findall("[A-Za-z]+", row["question"] + row["answer"]))
    assert len(words) <= 250


def test_every_sentence_is_used(rows) -> None:
    """A template that never comes would be dead text; each is looked for by its words without placeholders."""
    questions = "\n".join(row["question"] for row in rows["train"])
    for scenario in demo.SCENARIOS:
        for sentence in (*scenario.openings, *scenario.changes, *scenario.endings):
            pattern = re.sub(r"\\\{\w+\\\}", r"\\w+", re.escape(sentence.text))
            assert re.search(pattern, questions), sentence.text


def test_every_word_is_used_and_two_places_differ(rows) -> None:
    questions = " ".join(row["question"] for row in rows["train"])
    people = [name for name, _ in demo.PEOPLE]
    for word in (*people, *demo.THINGS, *demo.PLANTS, *demo.TREATS, *demo.GOODS, *demo.PLACES, *demo.VEHICLES):
        assert re.search(rf"\b{word}\b", questions), word
    stops = re.findall(r"At the (\w+) [0-9]+ people get on\. At the (\w+)", questions)
    assert stops
    assert all(first != second for first, second in stops)
