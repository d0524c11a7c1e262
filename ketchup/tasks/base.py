"""What a task is: how a row of its data set becomes a prompt, a target and, where it helps, a calculator."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ketchup.hashes import content_hash
from ketchup.inputs import Row

Split = Literal["train", "validation", "test"]
Form = Literal["native", "spaced"]
"""`native` keeps a text as the data set has it; `spaced` is for tokenizers that cannot write `<<` (see `gsm8k`)."""


@dataclass(frozen=True)
class Example:
    """One input of a task: `source` is what the model is asked about, `reference` the data set's own answer."""

    id: str
    source: str
    reference: str

    @property
    def input_hash(self) -> str:
        """Tells inputs apart by id and source: a numbered row keeps its id when its text is edited."""
        return content_hash([self.id, self.source])


@dataclass(frozen=True)
class Task:
    """One task, as one value in one file.

    `fields` maps `id`, `source` and `reference` to dotted field names of a row (`translation.en`); a task whose rows
    have no id leaves `id` out and rows are numbered. `hub` is the arguments of `datasets.load_dataset`; `None` where
    `generate(split)` yields the rows. `instruction` holds `{source}` and is what an instruction-tuned model is
    asked; `prefix` goes before the source of an encoder-decoder model. Lengths are in tokens.
    """

    name: str
    kind: Literal["reasoning", "summarization", "translation"]
    fields: Mapping[str, str]
    instruction: str
    prefix: str
    max_prompt_tokens: int
    max_new_tokens: int
    hub: tuple[str, str | None] | None = None
    hub_splits: Mapping[str, str] | None = None
    generate: Callable[[Split], Iterator[Row]] | None = None
    calculator: bool = False
    spaced: Callable[[str], str] | None = None
    """Rewrites a text for the `spaced` form; `None` where there is only the native one."""

    def text(self, text: str, form: Form) -> str:
        """A source or reference in the given form."""
        return self.spaced(text) if form == "spaced" and self.spaced else text
