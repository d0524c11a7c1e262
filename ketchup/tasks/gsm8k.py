"""GSM8K: grade-school word problems, solved step by step with calculator annotations (Cobbe et al., 2021).

The hub has 7,473 rows to train on and 1,319 to test on. The paper's split cuts the former into 6,705 for training and
768 for validation; that cut is not on the hub and comes from local files (`--data DIR`).
"""

import re

from ketchup.tasks.base import Task

_OPERATOR = re.compile(r"(?<=[0-9)%]) *([-+*/]) *(?=[$-]?(?:[0-9(]|\.[0-9]))")
"""Between two operands only: the minus of a negative number and the hyphen of a word keep their place."""
_EQUALS = re.compile(r"(?<! ) *= *(?=[^ .]|\.[0-9])")
"""It begins where spaces begin; tried at each of them, a long run of spaces would take quadratic time."""
_SENTENCE_ENDS = (".", "!", "?", ":", ";", ",")


def spaced(text: str) -> str:
    """The text for tokenizers that know neither `<` nor line breaks, such as T5's.

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


TASK = Task(
    name="gsm8k",
    kind="reasoning",
    fields={"source": "question", "reference": "answer"},
    instruction=(
        "Solve the following math problem step by step. Write every calculation in the form 3*4=<<3*4=12>>12, "
        "and end with a line #### followed by the final number alone.\n\n{source}"
    ),
    prefix="",
    max_prompt_tokens=200,
    max_new_tokens=300,
    hub=("openai/gsm8k", "main"),
    hub_splits={"train": "train", "test": "test"},
    calculator=True,
    spaced=spaced,
)
