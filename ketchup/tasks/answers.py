"""The final answer of a solution to a word problem, as a number.

Published accuracies depend on how the answer is found, so each way has a name:

    dpo-st     the last `#### n`; what the paper's line of work uses, and the default
    openai     the first `#### n`, as in the code released with GSM8K
    flexible   the last number of the text, whether marked as the answer or not
"""

import math
import re
from typing import Literal

Profile = Literal["dpo-st", "openai", "flexible"]

TOLERANCE = 1e-4
"""An answer is correct when it differs from the data set's by less than this."""

_MARKED = r"(-?[0-9.,]+)"
_PATTERNS: dict[Profile, re.Pattern[str]] = {
    "dpo-st": re.compile("#+ " + _MARKED),
    "openai": re.compile("#### " + _MARKED),
    # The minus of a subtraction written without spaces (`5-3`) is no sign.
    "flexible": re.compile(r"((?:(?<![0-9).])-)?(?:[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?|\.[0-9]+))"),
}


def extract_answer(text: str, profile: Profile = "dpo-st") -> float | None:
    """The final answer of a solution; None where the profile finds none, which counts as wrong."""
    found = _PATTERNS[profile].findall(text)
    if not found:
        return None
    chosen = found[0] if profile == "openai" else found[-1]
    try:
        answer = float(chosen.replace(",", ""))
    except ValueError:  # the marked forms also match `1.2.3`, `.` and `,`
        return None
    return answer if math.isfinite(answer) else None


def is_correct(answer: float | None, gold: float) -> bool:
    """Whether an extracted answer equals the gold one within `TOLERANCE`; no answer is a wrong one."""
    return answer is not None and abs(answer - gold) < TOLERANCE
