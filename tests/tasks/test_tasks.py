import re
from itertools import islice
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketchup.choices import READY_TASKS
from ketchup.errors import UsageError
from ketchup.tasks import TASKS, task_named
from ketchup.tasks.calculator import strip_annotations
from ketchup.tasks.rows import load_inputs
from ketchup.tasks.spaced import spaced

SPLITS = {"train", "validation", "test"}
HUB_SPLIT = re.compile(r"\w+(\[[0-9]*:[0-9]*\])?")

every_task = pytest.mark.parametrize("row", TASKS.values(), ids=TASKS)


def test_commands_offer_every_ready_task() -> None:
    assert set(READY_TASKS) == TASKS.keys()


@every_task
def test_a_task_stands_under_its_name(row) -> None:
    assert task_named(row.name) is row


@every_task
def test_a_task_names_source_and_reference(row) -> None:
    assert {"source", "reference"} <= set(row.fields) <= {"id", "source", "reference"}


@every_task
def test_an_instruction_takes_a_source_with_any_characters(row) -> None:
    source = "{a} \\ {source} 100%"
    for template in (row.prompts.source, row.prompts.plain, row.prompts.chat):
        assert template.format(source=source).count(source) == 1
        assert template.count("{source}") == 1


@every_task
def test_a_prefix_ends_where_the_source_can_follow(row) -> None:
    prefix, _, rest = row.prompts.source.partition("{source}")
    assert prefix == "" or prefix.endswith((": ", "\n"))
    assert rest == "" or rest.startswith("\n")


@every_task
def test_lengths_are_positive(row) -> None:
    assert row.max_prompt_tokens > 0
    assert row.max_new_tokens > 0


@every_task
def test_rows_come_from_a_generator_or_from_the_hub(row) -> None:
    assert (row.generate is None) != (row.hub is None)
    if row.hub:
        assert set(row.hub.splits) <= SPLITS
        assert "train" in row.hub.splits
        assert all(HUB_SPLIT.fullmatch(hub_split) for hub_split in row.hub.splits.values())


@pytest.mark.parametrize("piece", [" ", " =", "1- ", "<<", "[ ", "[ =", "\n"])
def test_a_long_run_of_anything_is_spaced_and_stripped_in_linear_time(piece: str) -> None:
    """Half a million characters; in quadratic time they would take minutes."""
    text = "1" + piece * (500_000 // len(piece))
    start = process_time()
    spaced(text)
    strip_annotations(text)
    assert process_time() - start < 5


@pytest.mark.parametrize("row", [row for row in TASKS.values() if row.generate], ids=lambda row: row.name)
def test_generated_rows_hold_the_fields_of_the_task(row) -> None:
    for split in SPLITS:
        for generated in islice(row.generate(split), 3):
            assert all(isinstance(generated[field], str) and generated[field] for field in row.fields.values())


@every_task
def test_a_calculator_goes_with_reasoning_and_a_spaced_form(row) -> None:
    assert row.calculator == (row.kind == "reasoning")
    if not row.calculator:
        assert row.text("3*4=<<3*4=12>>12", "spaced") == "3*4=<<3*4=12>>12"


@pytest.mark.parametrize(("name", "folder"), [("gsm8k", "gsm8k"), ("xsum", "xsum"), ("europarl", "europarl-en-nl")])
def test_real_rows_fit_the_task(real_data, name, folder) -> None:
    inputs = load_inputs(task_named(name), "test", real_data / folder, limit=50)
    assert len(inputs) == 50
    assert all(one.source and one.reference for one in inputs)


def test_an_unknown_task_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        UsageError, match=r'"gms8k": did you mean "gsm8k" of demo, .*gsm8k, .*xsum, or name a file that ends in .toml'
    ):
        task_named("gms8k")
    with pytest.raises(UsageError, match='"qqq": choose one of demo, '):
        task_named("qqq")


def test_europarl_splits_have_the_papers_sizes_and_do_not_overlap() -> None:
    ranges = {
        split: range(*(int(end or 0) for end in re.fullmatch(r"train\[(\d*):(\d*)\]", hub_split).groups()))
        for split, hub_split in task_named("europarl").hub.splits.items()
    }
    assert {split: len(rows) for split, rows in ranges.items()} == {
        "train": 1_167_808,
        "validation": 10_014,
        "test": 10_016,
    }
    assert len(set().union(*ranges.values())) == sum(map(len, ranges.values()))


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        ("Tom has 3*4=<<3*4=12>>12 apples.\n#### 12", "Tom has 3 * 4 = [ 3 * 4 = 12 ] 12 apples. #### 12"),
        ("He pays 9*2=$<<9*2=18>>18\n#### 18", "He pays 9 * 2 = $ [ 9 * 2 = 18 ] 18. #### 18"),
        ("(1+2)/3=<<(1+2)/3=1>>1", "(1 + 2) / 3 = [ (1 + 2) / 3 = 1 ] 1"),
        ("5*-3=<<5*-3=-15>>-15\n#### -15", "5 * -3 = [ 5 * -3 = -15 ] -15. #### -15"),
        ("It cooled by 8.\n-48/4=<<-48/4=-12>>-12", "It cooled by 8. -48 / 4 = [ -48 / 4 = -12 ] -12"),
        ("a 30-minute walk at $5/hour", "a 30-minute walk at $5/hour"),
        ("20%+5% of .5+.25", "20% + 5% of .5 + .25"),
        ("one\n\n two!\nthree", "one. two! three"),
        ("", ""),
    ],
)
def test_the_spaced_form_of_examples(native: str, expected: str) -> None:
    assert spaced(native) == expected


@given(st.text("0129 +-*/=<>()[].$%x#\n"))
def test_the_spaced_form_is_one_line_and_its_own_spaced_form(text: str) -> None:
    once = spaced(text)
    assert "\n" not in once
    assert "<<" not in once or "<<<" in text
    assert spaced(once) == once
