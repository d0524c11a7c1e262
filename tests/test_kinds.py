"""Fields of JSON objects, and values that only look like what is asked for."""

import pytest

from ketchup.kinds import NUMBER, TEXT, WHOLE, misfit


@pytest.mark.parametrize(
    ("kind", "fitting", "others"),
    [
        (str, ["", "x"], [None, 1, [], {}]),
        (TEXT, ["", None], [1, True, ["x"]]),
        (int, [0, -1], [None, True, 1.0, "1"]),
        (WHOLE, [3, None], [False, 3.5]),
        (float, [0, 1.5, float("nan")], [None, True, "1"]),
        (NUMBER, [1, None], [False, "1", []]),
        (bool, [True, False], [0, 1, None, "true"]),
        (dict, [{}], [[], None, "{}"]),
        (list, [[]], [{}, None]),
    ],
)
def test_kinds(kind, fitting, others):
    assert [misfit({"a": value}, {"a": kind}) for value in fitting] == [None] * len(fitting)
    assert all(misfit({"a": value}, {"a": kind}) for value in others)


def test_what_does_not_fit_is_said():
    assert misfit({"a": 1, "b": ["x" * 80]}, {"a": int, "b": str}) == '"b" is ["' + "x" * 38
    assert misfit({}, {"a": int}) == '"a" is null'
    assert misfit({}, {"a": TEXT}) is None
    assert misfit([1], {}) == "it is [1]"
