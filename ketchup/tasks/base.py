"""What a task is: how a row of its data set becomes a prompt, a target and, where it helps, a calculator."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ketchup.choices import Split
from ketchup.errors import DataError
from ketchup.hashes import content_hash
from ketchup.tasks.spaced import spaced
from ketchup.user_files import Row

Kind = Literal["reasoning", "summarization", "translation", "instruction"]
Form = Literal["native", "spaced"]
"""`native` keeps a text as the data set has it; `spaced` is for tokenizers that cannot write `<<` (see `spaced`)."""


@dataclass(frozen=True)
class Input:
    """One input of a task: `source` is what the model is asked about, `reference` the data set's own answer.

    Where the data set has several answers, `reference` is the first, which training learns from; metrics see all.
    """

    id: str
    source: str
    reference: str
    more_references: tuple[str, ...] = ()

    @property
    def references(self) -> tuple[str, ...]:
        """All references, in the order of the row."""
        return (self.reference, *self.more_references)

    @property
    def answer(self) -> str | list[str]:
        """The reference, or the list of them where there are several: what hashes and files hold of them."""
        return list(self.references) if self.more_references else self.reference

    @property
    def input_hash(self) -> str:
        """Tells inputs apart by id and source: a numbered row keeps its id when its text is edited."""
        return content_hash([self.id, self.source])


@dataclass(frozen=True)
class Hub:
    """A data set of the Hugging Face hub, and the slice of it that each split is."""

    name: str
    configuration: str | None
    revision: str | None
    splits: Mapping[str, str]


@dataclass(frozen=True)
class Prompts:
    """What a model is asked, by style; `{source}` stands where the source goes, and braces that stay are doubled.

    `source` is for encoder-decoder models, `plain` for decoder-only ones without a chat template, and `chat` is the
    user's turn in the model's own template, behind `system` if that is not empty.
    """

    source: str
    plain: str
    chat: str
    system: str = ""


@dataclass(frozen=True)
class Task:
    """One task, as one file has it (see docs/tasks.md).

    `fields` says where `id`, `source`, `reference` and `references` stand in a row: each a dotted field name, or
    several. A task whose rows have no id leaves `id` out and rows are numbered. Rows come from one of `hub`, `files`
    and `generate(split)`. Lengths are in tokens. An output ends with the first of the strings `stop` too. `path` and
    `content` are those of a user's own file.
    """

    name: str
    kind: Kind
    fields: Mapping[str, str | tuple[str, ...]]
    prompts: Prompts
    max_prompt_tokens: int
    max_new_tokens: int
    hub: Hub | None = None
    files: Mapping[str, Path] | None = None
    generate: Callable[[Split], Iterator[Row]] | None = None
    calculator: bool = False
    stop: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    path: Path | None = None
    content: Mapping[str, Any] = field(default_factory=dict)

    def text(self, text: str, form: Form) -> str:
        """A source or reference in the given form; only tasks with a calculator have more than one."""
        return spaced(text) if form == "spaced" and self.calculator else text

    @property
    def has_source(self) -> bool:
        """Whether rows have a source; without, all inputs have the same prompt."""
        return "source" in self.fields

    @property
    def called(self) -> str:
        """What a command calls it: its name, or the path of a user's own file."""
        return str(self.path or self.name)

    @property
    def recorded(self) -> dict[str, Any]:
        """What the manifest of a run says of a user's own file: its settings and their hash; nothing of a ready one."""
        return {"task_file": {"hash": content_hash(self.content), **self.content}} if self.path else {}

    @property
    def key(self) -> str:
        """The name, and for a user's own file what tells its content from others of that name."""
        return f"{self.name}@{content_hash(self.content)}" if self.path else self.name

    def changed_since(self, recorded: Mapping[str, Any]) -> list[str]:
        """The keys whose values differ from those that `recorded` has of the task's file, by dotted name."""
        before = flat({key: value for key, value in recorded.items() if key != "hash"})
        now = flat(self.content)
        return sorted(key for key in before | now if before.get(key) != now.get(key))

    def error(self, key: str, sentence: str) -> DataError:
        """An error in the value of a key of the task's file."""
        return DataError(f"{self.path or self.name}: {key} {sentence}")


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values by dotted names."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = f'"{key}"' if "." in key else key
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.") or {f"{prefix}{name}": {}}
        else:
            found[prefix + name] = value
    return found
