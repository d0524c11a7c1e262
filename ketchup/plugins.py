"""Plug-ins: Python files of users that add rows to the tables of metrics, methods, estimators, baselines and engines.

A plug-in is imported before the command begins, and does `METRICS["mine"] = Metric(...)` with the real tables.
"""

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from ketchup.errors import DataError, UsageError
from ketchup.failing import PLUGIN_MODULES, said
from ketchup.hashes import file_hash

LOADED: dict[str, str] = {}
"""The hash of each plug-in of this process by its path, as it was given."""


def load_plugins(paths: Sequence[str]) -> None:
    """Imports the files, each once; a `UsageError` with file and line for one that fails."""
    for path in paths:
        if path not in LOADED:
            _load(Path(path))


def recorded() -> dict[str, dict[str, str]]:
    """What a manifest says of the plug-ins: path and hash of each; nothing where there is none."""
    return {"plugins": dict(LOADED)} if LOADED else {}


def _load(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path} cannot be read; --plugin takes a Python file.")
    if path.suffix != ".py":
        raise UsageError(f"{path} is no Python file; --plugin takes one whose name ends in .py.")
    digest = file_hash(path)
    # By its whole path: two files may have one name, and functions are sent to other processes by their module's.
    name = f"{PLUGIN_MODULES}{path.stem}_{digest[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UsageError(f"{_place(error, path)}: the plug-in fails ({said(error)}); mend it there.") from error
    LOADED[str(path)] = digest


def _place(error: BaseException, path: Path) -> str:
    """The last line of the plug-in itself that was at work."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    lines = [line for file, line in places if Path(file).resolve() == path.resolve()]
    return f"{path}:{lines[-1]}" if lines else str(path)
