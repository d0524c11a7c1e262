"""The final answer of a solution to a word problem, as a number.

Published accuracies depend on how the answer is found, so each way has a name:

    dpo-st     the last `#### n`; what the paper's line of work uses, and the default
    openai     the first `#### n`, as in the code released with GSM8K
    flexible   the last number of the text, whether marked as the answer or not

The first two read a number exactly as their published patterns do. `flexible` reads what people write: any minus sign
(`-3`, `−3`), before or behind a currency (`-$3`, `$-3`, `-US$3`), digits of any script, and groups of digits
(`1,234.5`, `12,34,567`, `1'234.5`, `1.234,5`, and `1 234,5` with an unbreakable space). Where digits and commas are no
such number, as in `3,50` or `1,2,3`, the last of them counts. What is an operator or a hyphen is no sign: `5-3`,
`5€-3€`, `COVID-19`.
"""

import math
import re
from typing import Literal

Profile = Literal["dpo-st", "openai", "flexible"]

TOLERANCE = 1e-4
"""An answer is correct when it differs from the data set's by less than this."""

# All of them take time linear in the text: a student's outputs may be one character, a hundred thousand times.
_MARKED = r"(-?[0-9.,]+)"
_PATTERNS: dict[Profile, re.Pattern[str]] = {
    "dpo-st": re.compile("# " + _MARKED),
    "openai": re.compile("#### " + _MARKED),
}

_MINUS = r"[-\u2010-\u2013\u2212\ufe63\uff0d]"
_SYMBOL = r"$\u00a2-\u00a5\u0e3f\u20a0-\u20cf\ufdfc\ufe69\uff04\uffe1\uffe5\uffe6"
_CURRENCY = rf"(?:[A-Z]{{0,3}}\\?[{_SYMBOL}]|[A-Z]{{3}})"
_SPACE = r"[ \u00a0\u202f]?"
_OPERAND_ENDS = (
    rf"[0-9A-Za-z\u00b2\u00b3\u00b9\u00bc-\u00be\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u0dff)\]}}%.\u00b0{_SYMBOL}]"
)
"""Behind these a minus is an operator or a hyphen. Scripts without spaces are not among them: `答案是-3` is -3."""
_GROUP_MARK = r"[,'\u2019_\u00a0\u2009\u202f]|\{,\}|\\,"
_NUMBER = re.compile(
    rf"(?P<minus>(?<!{_OPERAND_ENDS})(?:[A-Z]{{0,3}}\\?[{_SYMBOL}]{_SPACE})?{_MINUS}(?:{_CURRENCY}{_SPACE})?)?"
    rf"(?P<digits>\.?\d+(?:(?:\.|{_GROUP_MARK})\d+)*)"
)
_FORMS = tuple(
    re.compile(form)
    for form in (
        r"(?P<whole>\d*)(?:\.(?P<part>\d+))?",
        rf"(?P<whole>\d+(?P<mark>{_GROUP_MARK})\d{{3}}(?:(?P=mark)\d{{3}})*)(?:(?!(?P=mark))[.,](?P<part>\d+))?",
        r"(?P<whole>\d{1,2}(?:,\d{2})+,\d{3})(?:\.(?P<part>\d+))?",  # lakh and crore
        r"(?P<whole>\d{1,3}(?:\.\d{3})+),(?P<part>\d+)",
        r"(?P<whole>\d{1,3}(?:\.\d{3}){2,})(?P<part>)",
    )
)
_UNGROUPED = re.compile(r"\d+(?:\.\d+)?|\.\d+")


def extract_answer(text: str, profile: Profile = "dpo-st") -> float | None:
    """The final answer of a solution; None where the profile finds none, which counts as wrong."""
    answer = _last_number(text) if profile == "flexible" else _marked_number(text, profile)
    return answer if answer is not None and math.isfinite(answer) else None


def is_correct(answer: float | None, gold: float) -> bool:
    """Whether an extracted answer equals the gold one within `TOLERANCE`; no answer is a wrong one."""
    return answer is not None and abs(answer - gold) < TOLERANCE


def _marked_number(text: str, profile: Profile) -> float | None:
    found = _PATTERNS[profile].findall(text)
    if not found:
        return None
    chosen = found[0] if profile == "openai" else found[-1]
    try:
        return float(chosen.replace(",", ""))
    except ValueError:  # the marked forms also match `1.2.3`, `.` and `,`
        return None


def _last_number(text: str) -> float | None:
    found = None
    for found in _NUMBER.finditer(text):  # noqa: B007  (the last one is what counts)
        pass
    if found is None:
        return None
    for form in _FORMS:
        parts = form.fullmatch(found["digits"])
        if parts:
            whole = re.sub(r"\D", "", parts["whole"])
            size = float(f"{whole or 0}.{parts['part'] or 0}")
            return -size if found["minus"] else size
    return float(_UNGROUPED.findall(found["digits"])[-1])
