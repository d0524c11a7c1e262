"""From an input to the ids a model reads, and from its ids back to text."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from ketchup.choices import PromptStyle
from ketchup.errors import ModelError, UsageError, first_line
from ketchup.models.language_model import LanguageModel, until_eos
from ketchup.models.teacher import Teacher
from ketchup.tasks.base import Form, Input, Task

DAY = date(2024, 7, 26)
"""What templates that write today's date (Llama 3) take for today: a prompt must be the same when a run goes on."""


def default_style(model: LanguageModel) -> PromptStyle:
    """`source` for encoder-decoder models, else `chat` where the tokenizer has a chat template, else `plain`."""
    if model.encoder_decoder:
        return "source"
    return "chat" if model.tokenizer.chat_template else "plain"


def text_form(model: LanguageModel, task: Task) -> Form:
    """`spaced` where the tokenizer cannot write the task's `<<a=b>>` (T5's own pieces lack `<`), else `native`."""
    if not task.calculator:
        return "native"
    probe = "<<1+2=3>>"
    back = text_of(model, model.tokenizer(probe, add_special_tokens=False).input_ids)
    return "native" if "".join(back.split()) == probe else "spaced"


def prompt_ids(
    model: LanguageModel, task: Task, one: Input, style: PromptStyle, readers: Sequence[Teacher] = ()
) -> list[int]:
    """Token ids of the prompt, at most `task.max_prompt_tokens` of source.

    Raises `ModelError` where the model, or one of the `readers` that are to read its prompts and outputs too, has no
    room for both or no embedding for one of the tokens.
    """
    ids = _prompt_ids(model, task, one, style)
    check_prompt(one.id, ids, task.max_new_tokens, model, *readers)
    return ids


def check_prompt(name: str, ids: Sequence[int], output: int, *readers: Teacher) -> None:
    """Raises `ModelError` for a prompt without tokens, and where a reader lacks one of them or room for the output."""
    for reader in readers:
        if not ids:
            raise ModelError(f"The prompt of {name!r} has no tokens in {reader.name!r}; mend its chat template.")
        if isinstance(reader, LanguageModel):  # a server refuses what it does not know
            _check_tokens(reader, f"The prompt of {name!r}", ids, reader.network.get_input_embeddings())
        _check_room(reader, name, len(ids), output)


def _prompt_ids(model: LanguageModel, task: Task, one: Input, style: PromptStyle) -> list[int]:
    if (style == "source") != model.encoder_decoder:
        raise UsageError(f"Prompt style {style!r} does not fit {model.name!r}; leave --prompt-style out.")
    tokenizer = model.tokenizer
    source = task.text(one.source, text_form(model, task))
    prompts = task.prompts
    if style == "source" and prompts.source.endswith("{source}"):
        asked = prompts.source.format(source=source)
        return list(tokenizer(asked, truncation=True, max_length=task.max_prompt_tokens).input_ids)
    source = _cut(model, source, task.max_prompt_tokens)
    if style == "chat":
        return _chat_ids(model, prompts.chat.format(source=source), prompts.system.format())
    ids = list(tokenizer((prompts.source if style == "source" else prompts.plain).format(source=source)).input_ids)
    return ids or _opening(model)


def _opening(model: LanguageModel) -> list[int]:
    """What a decoder-only model goes on from where it is asked nothing: its token for the start of a text, or the end.

    Models that know no start, such as GPT-2's, were trained on texts that follow each other's end.
    """
    start = model.tokenizer.bos_token_id
    return [model.eos_id if start is None else int(start)]


def _chat_ids(model: LanguageModel, asked: str, system: str) -> list[int]:
    tokenizer = model.tokenizer
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": asked})
    try:
        template = _dated(tokenizer.get_chat_template())
        ids = tokenizer.apply_chat_template(
            turns, chat_template=template, add_generation_prompt=True, return_dict=False
        )
    except Exception as error:  # a template is a program of its own
        raise ModelError(
            f"The chat template of {model.name!r} fails ({first_line(error)}); mend its chat_template.jinja or the "
            "chat_template of its tokenizer_config.json, or use --prompt-style plain."
        ) from error
    return list(ids)


def _check_room(model: Teacher, name: str, prompt: int, output: int) -> None:
    """Raises `ModelError` where a prompt and an output of these lengths exceed what the model can read."""
    most = model.max_tokens
    if most is None:
        return
    room = most if model.encoder_decoder else most - prompt
    if prompt > most or room < 1:
        raise ModelError(
            f"The prompt of {name!r} has {prompt} tokens, and {model.name!r} reads {most} at most, its output "
            "included; shorten that row's text or use a model that reads more."
        )
    if output > room:
        raise ModelError(
            f"The prompt of {name!r} has {prompt} tokens and leaves no room for {output} more in "
            f"{model.name!r} ({most} at most); lower --max-new-tokens to {room}, or less for longer prompts."
        )


def _check_tokens(model: LanguageModel, what: str, ids: Sequence[int], table: Any) -> None:
    """Raises `ModelError` for a token that tokenizer or chat template have and a table of the model has no row for."""
    rows = table.weight.shape[0]
    strange = [index for index in ids if index >= rows]
    if strange:
        token = model.tokenizer.convert_ids_to_tokens(strange[0])
        raise ModelError(
            f"{what} has the token {token!r} ({strange[0]}), and {model.name!r} has {rows} rows; resize its "
            "embeddings to its tokenizer."
        )


def target_ids(model: LanguageModel, task: Task, reference: str) -> list[int]:
    """Token ids of a reference as the model should write it, eos last; cut (then without eos) to `max_new_tokens`.

    A reference that has an end of its own in it ends there, as an output would.
    """
    text = task.text(reference, text_form(model, task))
    ids = model.tokenizer(
        text if model.encoder_decoder else _lead(model, task, text), add_special_tokens=False
    ).input_ids
    _check_tokens(model, f"The reference {reference[:40]!r}", ids, model.network.get_output_embeddings())
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


def _lead(model: LanguageModel, task: Task, text: str) -> str:
    """A plain prompt may end in `Answer:`, a chat prompt ends in a new line: only the first wants a space behind it."""
    plain = task.prompts.plain
    return text if model.tokenizer.chat_template or not plain or plain[-1].isspace() else " " + text


def _cut(model: LanguageModel, source: str, most: int) -> str:
    ids = model.tokenizer(source, add_special_tokens=False).input_ids
    return source if len(ids) <= most else text_of(model, ids[:most])
