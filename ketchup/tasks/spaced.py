"""The form of word problems for tokenizers that know neither `<` nor line breaks, such as T5's."""

import re

_OPERATOR = re.compile(r"(?<=[0-9)%]) *([-+*/]) *(?=[$-]?(?:[0-9(]|\.[0-9]))")
"""Between two operands only: the minus of a negative number and the hyphen of a word keep their place."""
_EQUALS = re.compile(r"(?<! ) *= *(?=[^ .]|\.[0-9])")
"""It begins where spaces begin; tried at each of them, a long run of spaces would take quadratic time."""
_SENTENCE_ENDS = (".", "!", "?", ":", ";", ",")


def spaced(text: str) -> str:
    """The text in words and spaces alone, where the calculator still finds its annotations.

    `3*4=<<3*4=12>>12` becomes `3 * 4 = [ 3 * 4 = 12 ] 12`, which the calculator understands as well. Operators
    between numbers get spaces, and lines become sentences of one line. The final `#### 12` stays, and a text that is
    already spaced does not change.
    """
    lines = [_spaced_line(line) for line in text.split("\n")]
    *body, last = [line for line in lines if line] or [""]
    return " ".join([*(line if line.endswith(_SENTENCE_ENDS) else line + "." for line in body), last])


def _spaced_line(line: str) -> str:
    line = line.replace("<<", " [ ").replace(">>", " ] ")
    line = _OPERATOR.sub(r" \1 ", line)
    line = _EQUALS.sub(" = ", line)
    return " ".join(line.split())
