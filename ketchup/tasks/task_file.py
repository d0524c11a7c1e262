"""A task from its file: TOML of a few known keys, each of one kind; docs/tasks.md says what they mean.

Ready files and those of users are read alike. Every error names file and key.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from string import Formatter
from typing import Any, cast, get_args

from ketchup import checks
from ketchup.choices import Split
from ketchup.errors import UsageError
from ketchup.tasks import demo
from ketchup.tasks.base import Hub, Kind, Prompts, Task, flat
from ketchup.tasks.files import READERS
from ketchup.user_files import Row, read_text

GENERATORS: dict[str, Callable[[Split], Iterator[Row]]] = {"demo": demo.generate}
LIST_OF_TEXTS = (list, "a list of texts")
TEXT = (str, "a text")
NUMBER = (int, "a whole number")
FLAG = (bool, "true or false")
KEYS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "kind": TEXT,
    "metrics": LIST_OF_TEXTS,
    "calculator": FLAG,
    "stop": LIST_OF_TEXTS,
    "rows.hub": TEXT,
    "rows.configuration": TEXT,
    "rows.revision": TEXT,
    "rows.generator": TEXT,
    **{f"rows.splits.{split}": TEXT for split in get_args(Split)},
    **{f"rows.files.{split}": TEXT for split in get_args(Split)},
    "fields.id": TEXT,
    "fields.source": ((str, list), "a field's name, or a list of texts with {fields}"),
    "fields.reference": TEXT,
    "fields.references": ((str, list), "the name of a field that is a list, or a list of names"),
    "prompt.source": TEXT,
    "prompt.plain": TEXT,
    "prompt.chat": TEXT,
    "prompt.system": TEXT,
    "lengths.source": NUMBER,
    "lengths.output": NUMBER,
}
"""Every key with its dotted name: the type of its value, and that type in words."""
TABLES = {name.rsplit(".", depth)[0] for name in KEYS for depth in range(1, name.count(".") + 1)}
ONE_OF_ROWS = ("rows.hub", "rows.files", "rows.generator")


def read_task(path: Path, *, ready: bool = False) -> Task:
    """The task of a file, called as the file is; a `ready` one is known by its name alone.

    Raises `UsageError` for a key or a value that is none, and `DataError` for a file that cannot be read.
    """
    try:
        content = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no TOML ({error}); mend it there.") from error
    return _Reader(path, content, ready).task()


class _Reader:
    """One file that is being read."""

    def __init__(self, path: Path, content: dict[str, Any], ready: bool) -> None:
        self.path = path
        self.content = content
        self.ready = ready
        self.values = flat(content)

    def task(self) -> Task:
        for name, value in self.values.items():
            self._check(name, value)
        self._check_rows()
        kind = self._one_of("kind", self._needed("kind"), get_args(Kind))
        return Task(
            name=self.path.stem,
            kind=cast(Kind, kind),
            fields=self._fields(),
            prompts=self._prompts(),
            max_prompt_tokens=self._length("lengths.source"),
            max_new_tokens=self._length("lengths.output"),
            hub=self._hub(),
            files=self._files(),
            generate=self._generator(),
            calculator=self.values.get("calculator", False),
            stop=tuple(self.values.get("stop", ())),
            metrics=tuple(self.values.get("metrics", ())),
            path=None if self.ready else self.path,
            content={} if self.ready else self.content,
        )

    def _error(self, key: str, sentence: str) -> UsageError:
        return UsageError(f"{self.path}: {key} {sentence}.")

    def _check(self, name: str, value: Any) -> None:
        if name in TABLES and not isinstance(value, Mapping):
            raise self._error(name, f"is a table of keys; write it as [{name}]")
        if name in TABLES:
            raise self._error(name, "is empty; fill it in or leave it out")
        if name not in KEYS:
            close = get_close_matches(name, KEYS, n=1)
            hint = f"did you mean {close[0]}" if close else f"known are {', '.join(KEYS)}"
            raise self._error(name, f"is no key of a task: {hint}")
        kind, words = KEYS[name]
        if isinstance(value, bool) != (kind is bool) or not isinstance(value, kind):
            raise self._error(name, f"must be {words}, not {value!r}")
        texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
        if isinstance(value, list) and not value and name != "stop":
            raise self._error(name, "is empty; name at least one, or leave it out")
        if not all(isinstance(text, str) for text in texts):
            raise self._error(name, f"must be {words}, not {value!r}")
        if not name.startswith("prompt.") and not all(text.strip() or (text and name == "stop") for text in texts):
            raise self._error(name, "has an empty text; fill it in or leave it out")

    def _needed(self, key: str) -> Any:
        if key not in self.values:
            raise self._error(key, "is missing; add it")
        return self.values[key]

    def _one_of(self, key: str, value: str, known: tuple[str, ...]) -> str:
        if value not in known:
            close = get_close_matches(value, known, n=1)
            hint = f"did you mean {close[0]}, of" if close else "use one of"
            raise self._error(key, f"is {value!r}: {hint} {', '.join(known)}")
        return value

    def _length(self, key: str) -> int:
        value: int = self._needed(key)
        checks.whole(f"{self.path}: {key}", value, most=checks.LONGEST)
        return value

    def _check_rows(self) -> None:
        given = [key for key in ONE_OF_ROWS if any(f"{name}.".startswith(f"{key}.") for name in self.values)]
        if len(given) != 1:
            found = f"are {' and '.join(given)}" if given else "are missing"
            raise self._error("rows", f"{found}; say by one of hub, files and generator where rows come from")
        for key in ("configuration", "revision", "splits"):
            if given != ["rows.hub"] and key in self.content["rows"]:
                raise self._error(f"rows.{key}", f"goes with rows.hub, and rows come from {given[0]}; leave it out")

    def _hub(self) -> Hub | None:
        if "rows.hub" not in self.values:
            return None
        rows = self.content["rows"]
        if not rows.get("splits"):
            raise self._error("rows.splits", 'is missing; say which split of the data set is which, as test = "test"')
        return Hub(rows["hub"], rows.get("configuration"), rows.get("revision"), rows["splits"])

    def _files(self) -> dict[str, Path] | None:
        files: Mapping[str, str] = self.content["rows"].get("files") or {}
        for split, name in files.items():
            if Path(name).suffix.lower() not in READERS:
                raise self._error(f"rows.files.{split}", f"is {name!r}; its name must end in {' or '.join(READERS)}")
        return {split: self.path.parent / name for split, name in files.items()} or None

    def _generator(self) -> Callable[[Split], Iterator[Row]] | None:
        name = self.values.get("rows.generator")
        return GENERATORS[self._one_of("rows.generator", name, tuple(GENERATORS))] if name else None

    def _fields(self) -> dict[str, str | tuple[str, ...]]:
        fields = self.content.get("fields", {})
        if ("reference" in fields) == ("references" in fields):
            raise self._error("fields", "must have one of reference (one answer a row) and references (several)")
        for name, value in fields.items():
            if isinstance(value, str) and "{" in value:
                raise self._error(f"fields.{name}", f"is {value!r}; write a field's name alone")
        for piece in fields["source"] if isinstance(fields.get("source"), list) else ():
            if not self._names("fields.source", piece):
                raise self._error("fields.source", f"has {piece!r}, which names no {{field}}; add one or delete it")
        return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}

    def _prompts(self) -> Prompts:
        prompt = self.content.get("prompt", {})
        for style in prompt:
            self._check_template(f"prompt.{style}", prompt[style])
        chat, plain = prompt.get("chat"), prompt.get("plain")
        if chat is None and plain is None:
            raise self._error("prompt", "has neither chat nor plain, which decoder-only models are asked; write one")
        return Prompts(
            source=prompt.get("source", "{source}" if "source" in self.content["fields"] else ""),
            plain=f"{chat}\nAnswer:" if plain is None else plain,
            chat=plain if chat is None else chat,
            system=prompt.get("system", ""),
        )

    def _check_template(self, key: str, template: str) -> None:
        wanted = ["source"] if "source" in self.content["fields"] and key != "prompt.system" else []
        found = self._names(key, template)
        if found != wanted:
            must = "have {source} once and no other field" if wanted else "have no {field}"
            shown = ", ".join(f"{{{name}}}" for name in found) or "none"
            raise self._error(key, f"must {must}, and has {shown}; write a brace that stays twice")

    def _names(self, key: str, template: str) -> list[str]:
        """The fields of a template; only their plain names are one."""
        try:
            parts = list(Formatter().parse(template))
        except ValueError as error:
            raise self._error(key, f"is no template ({error}); write a brace that stays twice") from error
        for _, name, form, conversion in parts:
            if name is not None and (not name or form or conversion or "[" in name):
                raise self._error(key, f"has {{{name}}}, which is not just a name; write a brace that stays twice")
        return [name for _, name, _, _ in parts if name is not None]
