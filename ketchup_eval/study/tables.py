"""Tables of one TOML file, read strictly: each error names the file, the table and what to write instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ketchup import checks
from ketchup.errors import UsageError

OF_THE_PLAN = {
    **dict.fromkeys(("task", "teacher", "student", "a", "b", "seeds"), "other tables of the plan say it"),
    **dict.fromkeys(("name", "runs_dir", "out", "node"), "the study names its runs itself"),
    **dict.fromkeys(("dry_run", "help"), "a command of a study does its work"),
}
"""Options that a plan gives no command, as it decides them elsewhere; why not."""
NO_TEACHER = ("teacher", "none")
"""But for an evaluation that measures no return."""


@dataclass(frozen=True)
class Tables:
    """What every table of the file is read by."""

    file: Path

    def tables(self, content: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
        """The tables [kind.NAME], one at least, by name."""
        found = self.table("the plan", content, kind)
        if not found:
            raise UsageError(f"{self.file} has no [{kind}.NAME]; add one or more.")
        for name, table in found.items():
            if not isinstance(table, dict):
                raise UsageError(f"{self.file}: [{kind}] has {name} = {_shown(table)}; write a table [{kind}.{name}].")
            plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
            if not plain or not name[0].isalnum():
                raise UsageError(
                    f"{self.file}: [{kind}.{name}] is no name; use letters, digits, - and _, and begin with a letter "
                    "or digit."
                )
        return found

    def table(self, place: str, content: Mapping[str, Any], key: str) -> dict[str, Any]:
        """The table of this key, empty where there is none."""
        value = content.get(key, {})
        if not isinstance(value, dict):
            raise UsageError(f"{self.file}: {place} has {key} = {_shown(value)}; make it a table.")
        return value

    def checked_options(self, place: str, table: dict[str, Any]) -> dict[str, Any]:
        """A table of options, as they are: each once, with one value or several, and none that the plan itself says."""
        seen: dict[str, str] = {}
        for key, value in table.items():
            name = key.replace("-", "_")
            if name in seen:
                raise UsageError(f"{self.file}: {place} has {seen[name]} and {key}, which are one option; keep one.")
            seen[name] = key
            if name in OF_THE_PLAN and (name, value) != NO_TEACHER:
                raise UsageError(f"{self.file}: {place} has {key}; leave it out, as {OF_THE_PLAN[name]}.")
            values = value if isinstance(value, list) else [value]
            if not values or any(isinstance(one, dict | list) for one in values):
                held = "an empty list" if not values else _shown(value)
                raise UsageError(f"{self.file}: {place} has {key} = {held}; write a value, or a list of values.")
        return table

    def known(self, place: str, table: Mapping[str, Any], keys: Sequence[str]) -> None:
        """Raises `UsageError` for a key of the table that is none of `keys`."""
        for key in table:
            self.one_of(place, "key", key, keys)

    def one_of(self, place: str, what: str, name: str, known: Sequence[str]) -> None:
        """Raises `UsageError` for a name that is none of those known, with the nearest of them."""
        if name in known:
            return
        near = get_close_matches(name, known, 1, 0.0)
        hint = f'the nearest known is "{near[0]}"' if near else "there is none to name"
        raise UsageError(f'{self.file}: {place} has the unknown {what} "{name}"; {hint}.')

    def typed(self, place: str, table: Mapping[str, Any], key: str, kind: type, **default: Any) -> Any:
        """The value of a key, of a kind; the `default` if there is one and no such key."""
        if key not in table and "default" in default:
            return default["default"]
        value = table.get(key)
        if not isinstance(value, kind) or isinstance(value, bool) or value == "":
            word = {str: "a text", int: "a whole number"}[kind]
            held = f"it has {_shown(value)}" if key in table else "it is missing"
            raise UsageError(f"{self.file}: {place} needs `{key}`, {word}; {held}.")
        return value

    def seeds(self, place: str, table: Mapping[str, Any], default: tuple[int, ...]) -> tuple[int, ...]:
        """The list `seeds`, of different ones."""
        found = table.get("seeds", list(default))
        if not isinstance(found, list) or not found or len(set(map(str, found))) < len(found):
            raise UsageError(f"{self.file}: {place} needs `seeds`, a list of different whole numbers.")
        for seed in found:
            checks.seed(f"{self.file}: {place} seeds", seed)
        return tuple(found)

    def names(
        self,
        place: str,
        table: Mapping[str, Any],
        key: str,
        known: tuple[str, ...],
        default: tuple[str, ...],
        *,
        some: bool = False,
    ) -> tuple[str, ...]:
        """A list of different names, each one of those known; with `some`, a list that is given has one at least."""
        found = table.get(key, list(default))
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise UsageError(f"{self.file}: {place} needs `{key}`, a list of names.")
        for name in found:
            self.one_of(place, key, name, known)
        if len(set(found)) < len(found):
            raise UsageError(f"{self.file}: {place} has a name twice in `{key}`; name each once.")
        if some and key in table and not found:
            raise UsageError(
                f"{self.file}: {place} has an empty list `{key}`; name one or more, or leave it out for all."
            )
        return tuple(found)


def _shown(value: object) -> str:
    return repr(value)[:40]
