"""The judge's templates: every file in `prompts/` is found, complete, and asks in the agreed form."""

import re

import pytest

from ketchup.errors import UsageError
from ketchup.tasks import TASKS
from ketchup_eval.judge import criteria as module
from ketchup_eval.judge.criteria import criteria, template

KINDS = ("instruction", "summarization", "translation")
TEMPLATES = [(kind, criterion) for kind in KINDS for criterion in criteria(kind)]
TEXTS = {"source": "SOURCE", "first_id": "B", "first": "FIRST TEXT", "second_id": "A", "second": "SECOND TEXT"}


@pytest.mark.parametrize("kind", ["summarization", "translation"])
def test_the_papers_three_criteria_exist_for_every_kind(kind):
    assert {"overall", "informativeness", "coherence"} <= set(criteria(kind))


def test_responses_to_instructions_are_judged_for_what_people_ask_of_them():
    assert criteria("instruction") == ["conciseness", "correctness", "helpfulness"]


def test_every_task_without_a_right_answer_can_be_judged():
    kinds = {task.kind for task in TASKS.values()} - {"reasoning"}
    assert kinds == set(KINDS)


@pytest.mark.parametrize(("kind", "criterion"), TEMPLATES)
def test_a_template_shows_the_source_and_then_the_candidates_under_their_ids(kind, criterion):
    text = template(kind, criterion).format(**TEXTS)
    noun = {"instruction": "Response", "summarization": "Summary", "translation": "Translation"}[kind]
    shown = ["SOURCE", f"{noun} [B]: FIRST TEXT", f"{noun} [A]: SECOND TEXT"]
    places = [text.index(part) for part in shown]
    assert places == sorted(places)


@pytest.mark.parametrize(("kind", "criterion"), TEMPLATES)
def test_the_reply_is_asked_for_under_the_criterions_own_label_with_the_choice_last(kind, criterion):
    """The paper's coherence prompts ask for a line `Informativeness:`."""
    explanation, choice = template(kind, criterion).splitlines()[-2:]
    label = explanation.split(":")[0]
    assert label.lower().startswith(criterion)
    assert choice.startswith("Preferred: <")
    others = set(criteria(kind)) - {criterion}
    assert not re.search("|".join(others), template(kind, criterion), re.IGNORECASE)


def test_braces_in_a_candidate_stay_as_they_are():
    text = template("summarization", "overall").format(**TEXTS | {"first": "{source} {0}"})
    assert "[B]: {source} {0}\n" in text


def test_an_unknown_kind_names_the_known_ones():
    with pytest.raises(
        UsageError, match="'reasoning' tasks; use a task whose kind is instruction or summarization or translation"
    ):
        criteria("reasoning")


def test_an_unknown_criterion_names_the_known_ones():
    with pytest.raises(UsageError, match=r"no criterion 'fluency' .* coherence or informativeness or overall"):
        template("translation", "fluency")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{source} {first_id} {first} {second_id}", r"short.txt lacks or adds \{second\}; use"),
        ("{source} {first_id} {first} {second_id} {second} {reference}", r"lacks or adds \{reference\}; use"),
        ("{source", "is no template .* write a brace that is no field twice"),
    ],
)
def test_a_new_criterion_is_one_file_and_a_wrong_one_is_explained(tmp_path, monkeypatch, text, message):
    monkeypatch.setattr(module, "PACKAGED", tmp_path)
    folder = tmp_path / "summarization"
    folder.mkdir()
    (folder / "short.txt").write_text(text)
    assert criteria("summarization") == ["short"]
    with pytest.raises(UsageError, match=message):
        template("summarization", "short")


def test_a_folder_of_ones_own_replaces_the_packaged_one(tmp_path):
    (tmp_path / "reasoning").mkdir()
    text = " ".join(f"{{{field}}}" for field in sorted(module.FIELDS))
    (tmp_path / "reasoning/clear.txt").write_text(text)
    assert criteria("reasoning", tmp_path) == ["clear"]
    assert template("reasoning", "clear", tmp_path) == text
    with pytest.raises(UsageError, match="nowhere is no folder; --prompts takes"):
        criteria("reasoning", tmp_path / "nowhere")
