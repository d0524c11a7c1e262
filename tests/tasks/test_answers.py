import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketchup.tasks.answers import extract_answer, is_correct


@pytest.mark.parametrize(
    ("text", "dpo_st", "openai", "flexible"),
    [
        ("He has 3*4=<<3*4=12>>12 apples.\n#### 12", 12, 12, 12),
        ("He has 12 apples. #### 12", 12, 12, 12),
        ("#### 1,234.50", 1234.5, 1234.5, 1234.5),
        ("#### -7", -7, -7, -7),
        ("#### 5\nOn second thought\n#### 6", 6, 5, 6),
        ("## 8", 8, None, 8),
        ("#### 8.", 8, 8, 8),
        ("#### 1.2.3", None, None, 0.3),
        ("#### .", None, None, None),
        ("#### $8", None, None, 8),
        ("####8", None, None, 8),
        ("It is 5-3, so 2 and 1/4", None, None, 4),
        ("It is 5-3", None, None, 3),
        ("It is (4)-3", None, None, 3),
        ("It sank to -3", None, None, -3),
        ("It costs $1,200.", None, None, 1200),
        ("There are 3, 4 or 5,", None, None, 5),
        ("No idea.", None, None, None),
        ("", None, None, None),
        ("#### " + "9" * 400, None, None, None),
    ],
)
def test_each_profile_finds_its_answer(text, dpo_st, openai, flexible) -> None:
    assert extract_answer(text) == dpo_st
    assert extract_answer(text, "dpo-st") == dpo_st
    assert extract_answer(text, "openai") == openai
    assert extract_answer(text, "flexible") == flexible


@given(st.integers(-(10**9), 10**9), st.sampled_from(["dpo-st", "openai", "flexible"]))
def test_a_marked_integer_is_read_back_with_and_without_commas(number: int, profile) -> None:
    assert extract_answer(f"so\n#### {number}", profile) == number
    assert extract_answer(f"so\n#### {number:,}", profile) == number


@given(st.text("0123456789.,#-$ \nx"), st.sampled_from(["dpo-st", "openai", "flexible"]))
def test_any_text_gives_a_number_or_none(text: str, profile) -> None:
    answer = extract_answer(text, profile)
    assert answer is None or isinstance(answer, float)


def test_an_answer_is_correct_within_the_tolerance_and_never_when_missing() -> None:
    assert is_correct(12.0, 12)
    assert is_correct(12.00009, 12)
    assert not is_correct(12.0002, 12)
    assert not is_correct(11.9, 12)
    assert not is_correct(None, 0)
