from time import process_time

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


@pytest.mark.parametrize(
    ("text", "number"),
    [
        # -1234567.5 as Unicode's CLDR writes it in twelve locales (`format_currency` of Babel 2.18): signs, currencies
        # and groups of digits that are not English.
        ("-$1,234,567.50", -1234567.5),  # en_US
        ("-1.234.567,50\xa0€", -1234567.5),  # de_DE
        ("-1\u202f234\u202f567,50\xa0€", -1234567.5),  # fr_FR
        ("-1’234’567.5", -1234567.5),  # de_CH
        ("-₹12,34,567.50", -1234567.5),  # hi_IN
        ("-1\xa0234\xa0567,50\xa0kr", -1234567.5),  # sv_SE
        ("€\xa0-1.234.567,50", -1234567.5),  # nl_NL
        ("-￥1,234,568", -1234568),  # ja
        ("-R$\xa01.234.567,50", -1234567.5),  # pt_BR
        ("-USD1,234,567.50", -1234567.5),  # en_AU
        ("\u200f-1,234,567.50\xa0ج.م.\u200f", -1234567.5),  # ar_EG
        ("\u200f-1,234,567.50\xa0\u200f₪", -1234567.5),  # he
        # The minus signs of Unicode and what typographers and keyboards put in their place.
        ("It is now −3.", -3),
        ("It is now –3.", -3),
        ("It is now －３.", -3),
        ("It is now −$3.", -3),
        ("It is now $-3 or -US$3", -3),
        (r"so $-\$3$ and \boxed{-1{,}200}", -1200),
        ("答案是-3", -3),
        ("(-$.50)", -0.5),
        # An operator or a hyphen is no sign.
        ("5−3", 3),
        ("It is $5-$3", 3),
        ("5€-3€", 3),
        ("pages 5–3", 3),
        ("x²-3", 3),
        ("COVID-19", 19),
        ("5 - $3", 3),
        # Not one number but several: the last of them.
        ("1,2345", 2345),
        ("1,2,-3,5", 5),
        ("3,50", 50),
        ("1.5,25", 25),
    ],
)
def test_flexible_reads_what_people_write(text, number) -> None:
    assert extract_answer(text, "flexible") == number


@pytest.mark.parametrize(
    "piece", ["#", "# ", "#### 1", "9", "-", "$", "-$", "1,", "1.", "1,1", "1.234,", "1\xa0", "{,}"]
)
def test_a_long_run_of_anything_takes_linear_time(piece) -> None:
    """Half a million characters; in quadratic time they would take minutes."""
    text = piece * (500_000 // len(piece))
    start = process_time()
    for profile in ("dpo-st", "openai", "flexible"):
        extract_answer(text, profile)
        extract_answer(text + "x", profile)
    assert process_time() - start < 5


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
