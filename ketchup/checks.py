"""Rules for the values of options: one place for the commands, and for those who make settings in Python.

A value outside its rule is a `UsageError` of one sentence: the option, what it must be, the value. `None` stands for an
option that was not given, and passes. `because` is what a rule adds to its range.
"""

import math
from collections.abc import Iterable
from importlib.util import find_spec
from typing import get_args

from ketchup.errors import UsageError

LARGEST = 1_000_000_000
"""No count of rows, steps or calls is larger; beyond it libraries overflow."""
LONGEST = 1_000_000
"""Tokens of the longest output, and so of the longest step."""
MOST_DRAWS = 10_000_000
"""Resamples of a bootstrap, or trials of a test, that anyone could wait for."""
MOST_WORKERS = 1024
"""Threads, or processes, of one machine."""
COLDEST, HOTTEST = 0.01, 100.0
"""Temperatures that are not 0: colder ones overflow float32 logits and are greedy in all but name."""
SEEDS = 2**32
TRACKERS = ("tensorboard", "wandb", "trackio")
SHOWN = 40


def whole(option: str, value: int | None, least: int = 1, most: int = LARGEST, because: str = "") -> None:
    """A whole number from `least` to `most`."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{option} must be a whole number, not {_shown(value)}.")
    if value < least:
        raise UsageError(f"{option} must be at least {least:,}{because}, not {_shown(value)}.")
    if value > most:
        raise UsageError(f"{option} must be at most {most:,}, not {_shown(value)}.")


def finite(
    option: str,
    value: float | None,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
    because: str = "",
) -> None:
    """A finite number, above one bound, or from `least` to `most`."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{option} must be a number, not {_shown(value)}.")
    if not (math.isfinite(value) and value > above and least <= value <= most):
        low = f" above {above:g}" if above > -math.inf else f" from {least:g}" if least > -math.inf else ""
        high = " up" if least > -math.inf else ""
        if most < math.inf:
            high = f" to {most:g}" if least > -math.inf else f" and at most {most:g}"
        raise UsageError(f"{option} must be a finite number{low}{high}{because}, not {value:g}.")


def temperature(option: str, value: float) -> None:
    """0, which is greedy, or a number that logits can be divided by."""
    if value != 0:
        finite(option, value, least=COLDEST, most=HOTTEST, because=", or 0 (greedy)")


def seed(option: str, value: int) -> None:
    """A seed that every generator takes."""
    whole(option, value, 0, SEEDS - 1)


def resamples(option: str, value: int) -> None:
    """Enough resamples for an interval of 95% to have ends of its own: a handful would only give their extremes."""
    whole(option, value, 20, MOST_DRAWS)


def share(option: str, value: float, *, ends: bool = True) -> None:
    """A number from 0 to 1, or between them without the `ends`."""
    if not (0 <= value <= 1 if ends else 0 < value < 1):
        raise UsageError(f"{option} must be {'from 0 to 1' if ends else 'between 0 and 1'}, not {value}.")


def choice(option: str, value: object, kind: object) -> None:
    """One of the words of a `Literal` type."""
    words = get_args(kind)
    if value is not None and value not in words:
        raise UsageError(f"{option} must be one of {', '.join(words)}, not {_shown(value)}.")


def several(**given: object) -> None:
    """Raises `UsageError` for one value where a list is meant: a text would be taken letter by letter."""
    for name, values in given.items():
        if values is not None and (isinstance(values, str | bytes) or not isinstance(values, Iterable)):
            raise UsageError(f"{name} is a list; write [{values!r}] in place of {values!r}.")


def name(what: str, value: object) -> None:
    """Raises `UsageError` for what is no name of anything."""
    if not isinstance(value, str):
        raise UsageError(f"{what} is a name or a path as a text, not {value!r}.")


def trackers(names: Iterable[str]) -> None:
    """Trackers that are known, and installed."""
    for name in names:
        if name not in TRACKERS:
            raise UsageError(f"--track knows {', '.join(TRACKERS)}, not {name}.")
        if find_spec(name) is None:
            raise UsageError(f"--track {name} needs that package; install it with pip install {name}.")


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
