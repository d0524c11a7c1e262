"""What a judge is asked: one text file for each kind of task and criterion, `prompts/<task kind>/<criterion>.txt`.

A new criterion is a new file and nothing else. It is a `str.format` template of the fields in `FIELDS`: the source,
then both candidates in the order shown, each with the ID the judge is to call it by. The source comes before the
candidates, so that the queries about one input begin alike, and a server that caches prefixes reads it once.
"""

from pathlib import Path
from string import Formatter

from ketchup.errors import UsageError
from ketchup.user_files import read_text

FIELDS = frozenset({"source", "first_id", "first", "second_id", "second"})

PACKAGED = Path(__file__).parents[1] / "prompts"
CHECKOUT = Path(__file__).parents[2] / "prompts"


def criteria(kind: str, prompts: Path | None = None) -> list[str]:
    """The criteria for outputs of a kind of task, by name; `UsageError` for a kind that has none."""
    folder = _prompts_folder(prompts)
    kinds = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if kind not in kinds:
        raise UsageError(f"The judge has no criteria for {kind!r} tasks; use a task whose kind is {_either(kinds)}.")
    return sorted(path.stem for path in (folder / kind).glob("*.txt"))


def template(kind: str, criterion: str, prompts: Path | None = None) -> str:
    """The text to ask with, whose fields are exactly `FIELDS`.

    Raises `UsageError` for an unknown kind or criterion, and for a file with other fields.
    """
    known = criteria(kind, prompts)
    if criterion not in known:
        raise UsageError(f"There is no criterion {criterion!r} for {kind} tasks; use {_either(known)}.")
    path = _prompts_folder(prompts) / kind / f"{criterion}.txt"
    text = read_text(path)
    _check_fields(text, path)
    return text


def _check_fields(text: str, path: Path) -> None:
    try:
        found = {field for _, field, _, _ in Formatter().parse(text) if field is not None}
    except ValueError as error:
        raise UsageError(f"{path} is no template ({error}); write a brace that is no field twice.") from error
    if found != FIELDS:
        wrong = ", ".join(f"{{{field}}}" for field in sorted(found ^ FIELDS))
        raise UsageError(f"{path} lacks or adds {wrong}; use each of {{{'}, {'.join(sorted(FIELDS))}}} and no other.")


def _prompts_folder(prompts: Path | None) -> Path:
    """The user's own, else inside the installed package, or at the root of a checkout."""
    if prompts is not None and not prompts.is_dir():
        raise UsageError(f"{prompts} is no folder; --prompts takes one that holds <task kind>/<criterion>.txt.")
    return prompts or (PACKAGED if PACKAGED.is_dir() else CHECKOUT)


def _either(names: list[str]) -> str:
    return " or ".join(names)
