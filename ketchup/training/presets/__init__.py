"""The paper's settings by task and model family, one file each; the values of a method's stage, then its own, win."""

import tomllib
from pathlib import Path
from typing import Any

from ketchup.errors import UsageError
from ketchup.methods import METHODS

FOLDER = Path(__file__).parent
PRESETS = tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def preset(name: str, method: str) -> dict[str, Any]:
    """Settings of `TrainSettings` and options of the method, by name, as the preset has them for this method."""
    if name not in PRESETS:
        raise UsageError(f"There is no preset {name!r}; use one of {', '.join(PRESETS)}.")
    content = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    values = {key: value for key, value in content.items() if not isinstance(value, dict)}
    stage = METHODS[method].stage if method in METHODS else ""
    found = {**values, **content.get(stage, {}), **content.get(method, {})}
    if method == "sft":  # which makes the teacher
        found.pop("teacher", None)
    return found
