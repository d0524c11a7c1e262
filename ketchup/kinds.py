"""Whether the fields of a JSON object are of the kinds that its readers count on."""

import json
from collections.abc import Mapping
from types import NoneType
from typing import Any

Kinds = Mapping[str, type | tuple[type, ...]]
"""The kind of each field, or several. `float` means any number and `int` a whole one; neither is true or false."""
TEXT = (str, NoneType)
WHOLE = (int, NoneType)
NUMBER = (float, NoneType)


def misfit(value: object, kinds: Kinds) -> str | None:
    """What does not fit, as `"step" is "3"`: `None` where every field does; one that is absent counts as null."""
    if not isinstance(value, dict):
        return f"it is {json.dumps(value)[:40]}"
    for name, kind in kinds.items():
        if not _is(value.get(name), kind if isinstance(kind, tuple) else (kind,)):
            return f'"{name}" is {json.dumps(value.get(name))[:40]}'
    return None


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))
