import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketchup.tasks import calculator, task_named
from ketchup.tasks.calculator import CalculationError, evaluate, forced_text, format_result, strip_annotations
from ketchup.tasks.rows import load_inputs
from ketchup.tasks.spaced import spaced

ANNOTATION = re.compile(r"<<([^=>]*)=([^>]*)>>")


def wrapped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Larger expressions from smaller ones."""
    signs = st.sampled_from(["+", "-", "*", "/", " + ", " - ", " * ", " / "])
    return st.one_of(
        st.builds("{}{}{}".format, inner, signs, inner),
        st.builds("({})".format, inner),
        st.builds("-{}".format, inner),
        st.builds("+{}".format, inner),
    )


NUMBERS = st.one_of(
    st.integers(0, 99).map(str),
    st.tuples(st.integers(0, 9), st.integers(0, 99)).map(lambda parts: f"{parts[0]}.{parts[1]:02d}"),
    st.integers(0, 99).map(lambda cents: f".{cents:02d}"),
)
EXPRESSIONS = st.recursive(NUMBERS, wrapped, max_leaves=5)
"""Small enough to stay within the calculator's bounds, which other tests look at."""


def by_python(expression: str) -> Fraction:
    """The value according to Python itself; `eval` is safe here because the test wrote the expression."""
    exact = re.sub(r"[0-9]*\.?[0-9]+", lambda number: f"Fraction('{number[0]}')", expression)
    return eval(exact, {"Fraction": Fraction})


def attempt(expression: str) -> Fraction | None:
    """Our value; None where there is none."""
    try:
        return evaluate(expression)
    except CalculationError:
        return None


@given(EXPRESSIONS)
def test_a_value_is_the_one_python_computes(expression: str) -> None:
    try:
        expected = by_python(expression)
    except ZeroDivisionError:
        expected = None
    assert attempt(expression) == expected


@given(st.text(max_size=120) | st.text("0123456789+-*/().,$ =<>", max_size=120))
def test_any_text_gives_a_value_or_the_one_error(text: str) -> None:
    assert abs(attempt(text) or 0) <= calculator.MAX_MAGNITUDE


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("3*4", 12),
        ("2+3*4", 14),
        ("10-3-4", 3),
        ("48/4/2", 6),
        ("(2+3)*4", 20),
        ("-36+13+-15+-10", -48),
        ("2--3", 5),
        (".5*4", 2),
        ("5.*2", 10),
        ("1/3*3", 1),
        ("0.1+0.2", Fraction(3, 10)),
        (" 3 * 4 ", 12),
        ("1,200*2", 2400),
        ("$1,234,567.50*2", 2469135),
        ("$5 + $.50", Fraction(11, 2)),
        ("007", 7),
    ],
)
def test_values_of_examples(expression: str, value: Fraction) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "a number is missing"),
        ("   ", "a number is missing"),
        ("3*", "a number is missing"),
        ("*3", "a number is missing"),
        ("2**3", "a number is missing"),
        ("7//2", "a number is missing"),
        ("()", "a number is missing"),
        ("(3", "not closed"),
        ("3)", "should end"),
        ("2(3)", "should end"),
        ("3 4", "should end"),
        ("1,2345", "should end"),
        ("1.2.3", "should end"),
        ("12,34", "cannot read"),
        ("5%", "cannot read"),
        ("3x4", "cannot read"),
        ("1e5", "cannot read"),
        ("٣*2", "cannot read"),
        ("__import__('os')", "cannot read"),
        ("$", "cannot read"),
        ("1/0", "zero"),
        ("1/(2-2)", "zero"),
        ("9" * 14, "exceeds"),
        ("1000000*1000000*2", "exceeds"),
        ("1000000/.0000000001", "exceeds"),
        ("1+" * 50 + "1", "at most 100 characters"),
        ("(" * 40 + "1" + ")" * 40, "deeper"),
        ("-" * 40 + "1", "deeper"),
    ],
)
def test_everything_else_is_refused_with_its_reason(expression: str, reason: str) -> None:
    with pytest.raises(CalculationError, match=reason):
        evaluate(expression)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Fraction(12), "12"),
        (Fraction(1200), "1200"),
        (Fraction(-5), "-5"),
        (Fraction(0), "0"),
        (Fraction(5, 2), "2.5"),
        (Fraction(1, 3), "0.33"),
        (Fraction(-2, 3), "-0.67"),
        (Fraction(1, 8), "0.13"),
        (Fraction(-1, 8), "-0.13"),
        (Fraction(1, 200), "0.01"),
        (Fraction(299_999, 100_000), "3"),
        (Fraction(29_998, 10_000), "3"),
        (Fraction(-1, 1000), "0"),
        (Fraction(10**12), "1000000000000"),
    ],
)
def test_results_are_written_as_in_the_data_set(value: Fraction, written: str) -> None:
    assert format_result(value) == written


@given(st.fractions(-(10**6), 10**6, max_denominator=10**4))
def test_a_written_result_is_within_half_a_cent(value: Fraction) -> None:
    written = format_result(value)
    assert abs(Fraction(written) - value) <= Fraction(1, 200)
    assert not re.search(r"\.\d*0$|\.$|e|^-0$", written)


@pytest.mark.parametrize(
    ("text", "forced"),
    [
        ("Tom has 3*4=<<3*4=", "12>>"),
        ("3*4=<<3*4=12>>12 and 12/5=<<12/5=", "2.4>>"),
        ("<<3 * 4 =", "12>>"),
        ("<<3*4<<5+6=", "11>>"),
        ("<<3*4 [ 5 + 6 =", " 11 ]"),
        ("[ 3 * 4 <<5+6=", "11>>"),
        ("<<2-7=", "-5>>"),
        ("3 * 4 = [ 3 * 4 =", " 12 ]"),
        ("3 * 4 = [ 3 * 4 =  ", " 12 ]"),
        ("[ 3 * 4 = 12 ] 12 [ 12 / 5 =", " 2.4 ]"),
        ("", None),
        ("3*4=", None),
        ("<<", None),
        ("<<=", None),
        ("<<3*4", None),
        ("<<3*4=1", None),
        ("<<3*4=12>>", None),
        ("<<3*4=12>>12=", None),
        ("<<3*=", None),
        ("<<3*x=", None),
        ("<<1/0=", None),
        ("<<3*4==", None),
        ("[ =", None),
        ("[ 3 * 4 = 12 ]", None),
        ("[ 3 * 4 = 12 ] 12 =", None),
        ("[3*4=", None),
    ],
)
def test_the_calculator_writes_only_in_an_open_annotation(text: str, forced: str | None) -> None:
    assert forced_text(text) == forced


def test_the_longest_expression_is_still_found_behind_a_long_text() -> None:
    expression = "1+" * 49 + "10"
    assert len(expression) == calculator.MAX_LENGTH
    assert forced_text("a" * 10_000 + f"<<{expression}=") == "59>>"
    assert forced_text("a" * 10_000 + f"[ {expression}=") == " 59 ]"
    assert forced_text(f"<<1+{expression}=") is None


@given(st.text(max_size=300), EXPRESSIONS)
def test_what_stands_before_an_annotation_does_not_matter(before: str, expression: str) -> None:
    assert forced_text(f"{before}<<{expression}=") == forced_text(f"<<{expression}=")
    assert forced_text(f"{before}[ {expression} =") == forced_text(f"[ {expression} =")


def test_stripping_keeps_the_text_around_annotations() -> None:
    native = "Tom has 3*4=<<3*4=12>>12 apples.\nHe pays $<<12*2=24>>24 [twice].\n#### 24"
    assert strip_annotations(native) == "Tom has 3*4=12 apples.\nHe pays $24 [twice].\n#### 24"
    assert (
        strip_annotations("Tom has 3 * 4 = [ 3 * 4 = 12 ] 12 apples. #### 12") == "Tom has 3 * 4 = 12 apples. #### 12"
    )
    assert strip_annotations("cut off <<3*4=") == "cut off <<3*4="


def test_real_annotations_are_reproduced(real_data) -> None:
    """97% to the letter; the others are the annotators' 12.00 and .5 for our 12 and 0.5, apart from a handful."""
    inputs = [
        one
        for split in ("train", "validation", "test")
        for one in load_inputs(task_named("gsm8k"), split, real_data / "gsm8k")
    ]
    annotations = [found for one in inputs for found in ANNOTATION.findall(one.reference)]
    forced = [forced_text(f"<<{expression}=") or "" for expression, _ in annotations]
    exact = sum(text == f"{result}>>" for text, (_, result) in zip(forced, annotations, strict=True))
    equal = sum(
        bool(text) and evaluate(text[:-2]) == evaluate(result)
        for text, (_, result) in zip(forced, annotations, strict=True)
    )
    assert len(annotations) == 27_998
    assert exact / len(annotations) > 0.97
    assert equal / len(annotations) > 0.9996


def test_both_forms_of_a_real_solution_get_the_same_results(real_data) -> None:
    for one in load_inputs(task_named("gsm8k"), "test", real_data / "gsm8k"):
        solution = one.reference
        native = [forced_text(solution[: found.end()]) for found in re.finditer(r"<<[^=>]*=", solution)]
        rewritten = spaced(solution)
        in_spaced = [forced_text(rewritten[: found.end()]) for found in re.finditer(r"\[ [^=\]]*=", rewritten)]
        assert in_spaced == [text and f" {text[:-2]} ]" for text in native]
