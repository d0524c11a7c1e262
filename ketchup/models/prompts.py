"""From an example to the ids a model reads, and from its ids back to text."""

from collections.abc import Sequence
from datetime import date
from typing import Literal

from ketchup.errors import ModelError, UsageError
from ketchup.models.language_model import LanguageModel, until_eos
from ketchup.tasks.base import Example, Form, Task

PromptStyle = Literal["source", "chat", "plain"]
"""`source`: the prefixed source of an encoder-decoder model; `chat`: the tokenizer's chat template around the
task's instruction; `plain`: the instruction and a line that opens the answer, for base models."""

DAY = date(2024, 7, 26)
"""What templates that write today's date (Llama 3) take for today: a prompt must be the same when a run goes on."""


def default_style(model: LanguageModel) -> PromptStyle:
    """`source` for encoder-decoder models, else `chat` where the tokenizer has a chat template, else `plain`."""
    if model.encoder_decoder:
        return "source"
    return "chat" if model.tokenizer.chat_template else "plain"


def text_form(model: LanguageModel, task: Task) -> Form:
    """`spaced` where the tokenizer cannot write the task's `<<a=b>>` (T5's own pieces lack `<`), else `native`."""
    if task.spaced is None:
        return "native"
    probe = "<<1+2=3>>"
    back = text_of(model, model.tokenizer(probe, add_special_tokens=False).input_ids)
    return "native" if "".join(back.split()) == probe else "spaced"


def prompt_ids(model: LanguageModel, task: Task, example: Example, style: PromptStyle) -> list[int]:
    """Token ids of the prompt, at most `task.max_prompt_tokens` of source.

    Raises `ModelError` where prompt and answer together exceed what the model can read.
    """
    if (style == "source") != model.encoder_decoder:
        raise UsageError(f"Prompt style {style!r} does not fit {model.name!r}; leave --prompt-style out.")
    tokenizer = model.tokenizer
    source = task.text(example.source, text_form(model, task))
    if style == "source":
        ids = tokenizer(task.prefix + source, truncation=True, max_length=task.max_prompt_tokens).input_ids
        return list(ids)
    source = _cut(model, source, task.max_prompt_tokens)
    asked = task.instruction.format(source=source)
    if style == "chat":
        turns = [{"role": "user", "content": asked}]
        ids = tokenizer.apply_chat_template(
            turns, chat_template=_dated(tokenizer.get_chat_template()), add_generation_prompt=True, return_dict=False
        )
    else:
        ids = tokenizer(asked + "\nAnswer:").input_ids
    if model.max_tokens is not None and len(ids) + task.max_new_tokens > model.max_tokens:
        raise ModelError(
            f"The prompt of {example.id!r} has {len(ids)} tokens and leaves no room for {task.max_new_tokens} more in "
            f"{model.name!r} ({model.max_tokens} at most); lower --max-new-tokens."
        )
    return list(ids)


def target_ids(model: LanguageModel, task: Task, reference: str) -> list[int]:
    """Token ids of a reference as the model should write it, eos last; cut (then without eos) to `max_new_tokens`.

    A reference that has an end of its own in it ends there, as an output would.
    """
    text = task.text(reference, text_form(model, task))
    ids = model.tokenizer(text if model.encoder_decoder else _lead(model, text), add_special_tokens=False).input_ids
    return until_eos(model, [*ids, model.eos_id])[: task.max_new_tokens]


def text_of(model: LanguageModel, ids: Sequence[int]) -> str:
    """What the ids say, without special tokens."""
    return str(model.tokenizer.decode(list(ids), skip_special_tokens=True))


def output_text(model: LanguageModel, ids: Sequence[int]) -> str:
    """What an output says, without its end; that need not be a special token."""
    return text_of(model, ids[:-1] if ids and ids[-1] in model.eos_ids else ids)


def _dated(template: str) -> str:
    """The template with its clock stopped at `DAY`."""
    if "strftime_now" not in template:
        return template
    fields = "".join(f"|replace('%{field}', '{DAY.strftime('%' + field)}')" for field in "dmYyBbAaHMSpjIZ")
    return "{% macro strftime_now(format) %}{{ format" + fields + "}}{% endmacro %}{{ '' }}" + template


def _lead(model: LanguageModel, text: str) -> str:
    """A plain prompt ends in `Answer:`, a chat prompt in a new line: only the first wants a space before the text."""
    return text if model.tokenizer.chat_template else " " + text


def _cut(model: LanguageModel, source: str, most: int) -> str:
    ids = model.tokenizer(source, add_special_tokens=False).input_ids
    return source if len(ids) <= most else text_of(model, ids[:most])
