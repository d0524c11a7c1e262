"""The function that is audited: found in its file, called with its prints kept off stdout, its errors one sentence."""

import asyncio
import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ketchup.errors import DataError, KetchupError, UsageError, first_line


class AuditError(KetchupError):
    """A function that cannot be audited as it is."""


@dataclass(frozen=True)
class Audited:
    """A function, how it was named, and the parameters it can be given."""

    name: str
    function: Callable[..., Any]
    parameters: tuple[inspect.Parameter, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of its parameters."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def required(self) -> tuple[str, ...]:
        """Of the parameters without a default."""
        return tuple(p.name for p in self.parameters if p.default is p.empty)

    def __call__(self, arguments: dict[str, Any]) -> Any:
        """Its result; what it prints goes to stderr."""
        try:
            with aside():
                result = self.function(**arguments)
                return asyncio.run(result) if inspect.iscoroutine(result) else result
        except (Exception, SystemExit) as error:
            raise AuditError(
                f"{self.name} raised {type(error).__name__}: {first_line(error)}{_hint(error)}."
            ) from error


def load(target: str) -> Audited:
    """The function that FILE.py:FUNCTION names; a file inside a package is imported as its module.

    Raises `UsageError` where the text is of another form, `DataError` where the file, the function or what the file
    imports is missing.
    """
    file, _, name = target.rpartition(":")
    path = Path(file)
    if not file or not name or path.suffix != ".py":
        raise UsageError(
            f"{target!r} is not FILE.py:FUNCTION; write the file and its function, as in my_loss.py:weights."
        )
    if not path.is_file():
        raise DataError(f"There is no file {file}; write the path of the file that defines {name}.")
    module = _module(path)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            there = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise DataError(f"{file} has no function {name}; it has {', '.join(there) or 'none'}.")
        found = getattr(found, part)
    if not callable(found):
        raise DataError(f"{name} in {file} is no function but {type(found).__name__}; name a function.")
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError) as error:
        raise DataError(
            f"Python cannot tell the parameters of {name} in {file}; wrap it in a function with names."
        ) from error
    some = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return Audited(name, _by_name(found), tuple(p for p in parameters if p.kind not in some))


def _by_name(function: Callable[..., Any]) -> Callable[..., Any]:
    """Called by names even where a parameter takes none."""
    only = [
        name
        for name, p in inspect.signature(function).parameters.items()
        if p.kind is inspect.Parameter.POSITIONAL_ONLY
    ]
    if not only:
        return function
    return lambda **given: function(*(given.pop(name) for name in only if name in given), **given)


def _module(path: Path) -> ModuleType:
    path = path.resolve()
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        root, parts = root.parent, [root.name, *parts]
    try:
        with aside():
            if len(parts) > 1:
                sys.path.insert(0, str(root))
                return importlib.import_module(".".join(parts))
            sys.path.insert(0, str(path.parent))
            spec = importlib.util.spec_from_file_location(f"audited_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
            return module
    except (Exception, SystemExit) as error:
        raise DataError(f"{path.name} cannot be imported: {type(error).__name__}: {first_line(error)}.") from error


def _hint(error: BaseException) -> str:
    text = str(error)
    if "CUDA" in text or "cuda" in text or "NVIDIA" in text:
        return "; the audit runs on a CPU, so take the device from the arguments (tensor.device)"
    if isinstance(error, AttributeError) or "model" in text:
        return "; the audit has tensors and no model, so give it the part that turns log-probs into weights or a loss"
    return ""


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """What is printed to stdout meanwhile, by Python or below it, goes to stderr."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:
        kept = None
    try:
        if kept is not None:
            with contextlib.suppress(OSError):
                os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)
