"""From inputs to ids: styles, forms, cuts."""

from dataclasses import replace

import pytest

from ketchup.errors import ModelError, UsageError
from ketchup.models.prompts import default_style, output_text, prompt_ids, target_ids, text_form, text_of
from ketchup.tasks.base import Input, Prompts, Task
from tests import tiny

TASK = Task(
    name="tiny",
    kind="reasoning",
    fields={"source": "question"},
    prompts=Prompts("d{source}", "b{source}c\nAnswer:", "b{source}c"),
    max_prompt_tokens=5,
    max_new_tokens=4,
)
INPUT = Input("x", "ab", "cd")
A, B, C, D = 2, 3, 4, 5


def test_an_encoder_reads_prefix_and_source_and_nothing_of_the_instruction():
    model = tiny.language_model("t5")
    assert default_style(model) == "source"
    assert prompt_ids(model, TASK, INPUT, "source") == [D, A, B]


def test_a_source_that_is_too_long_is_cut():
    model = tiny.language_model("t5")
    assert len(prompt_ids(model, TASK, replace(INPUT, source="ab" * 9), "source")) == 5


def test_a_base_model_reads_the_instruction_and_a_cue():
    model = tiny.language_model("llama")
    assert default_style(model) == "plain"
    ids = prompt_ids(model, TASK, INPUT, "plain")
    assert ids[:4] == [B, A, B, C]  # then the unknown letters of "Answer:"
    assert len(ids) == 4 + len("\nAnswer:")


def test_only_the_source_of_an_instruction_is_cut():
    model = tiny.language_model("llama")
    ids = prompt_ids(model, TASK, replace(INPUT, source="ab" * 9), "plain")
    assert ids[:7] == [B, A, B, A, B, A, C]


@pytest.mark.parametrize(
    "template", ["{% for m in messages %}", "{{ messages[0].content + 1 }}", "{{ raise_exception('no system turn') }}"]
)
def test_a_chat_template_that_fails_is_named(template):
    model = tiny.language_model("llama")
    model.tokenizer.chat_template = template
    with pytest.raises(
        ModelError, match=r"chat template of 'tiny-llama-0' fails \(.*\); mend its chat_template\.jinja"
    ):
        prompt_ids(model, TASK, INPUT, "chat")


def test_the_chat_template_frames_the_instruction():
    model = tiny.language_model("llama")
    model.tokenizer.chat_template = "{% for m in messages %}a{{ m['content'] }}a{% endfor %}d"
    assert default_style(model) == "chat"
    assert prompt_ids(model, TASK, INPUT, "chat") == [A, B, A, B, C, A, D]


def test_a_template_that_writes_the_date_asks_the_same_on_every_day():
    model = tiny.language_model("llama")
    model.tokenizer.chat_template = (  # as in Llama 3.2's
        "{%- if strftime_now is defined %}{%- set day = strftime_now('%d %b %Y') %}{%- endif %}"
        "{%- if day == '26 Jul 2024' %}a{%- else %}b{%- endif %}"
    )
    assert prompt_ids(model, TASK, INPUT, "chat") == [A]


def test_a_style_of_the_other_kind_of_model_is_refused():
    with pytest.raises(UsageError, match="'chat' does not fit 'tiny-t5-0'"):
        prompt_ids(tiny.language_model("t5"), TASK, INPUT, "chat")


def test_a_prompt_that_leaves_no_room_is_refused():
    model = tiny.language_model("llama")
    with pytest.raises(ModelError, match="leaves no room for 60 more"):
        prompt_ids(model, replace(TASK, max_new_tokens=60), INPUT, "plain")


def test_everyone_who_reads_a_prompt_has_room_for_it_and_an_output():
    model, reader = tiny.language_model("llama"), tiny.language_model("llama", seed=1)
    ids = prompt_ids(model, TASK, INPUT, "plain", [reader])
    object.__setattr__(reader, "max_tokens", len(ids) + TASK.max_new_tokens)
    assert prompt_ids(model, TASK, INPUT, "plain", [reader]) == ids
    for room, fix in ((TASK.max_new_tokens - 1, "lower --max-new-tokens to 3"), (0, "shorten"), (-5, "shorten")):
        object.__setattr__(reader, "max_tokens", len(ids) + room)
        with pytest.raises(ModelError, match=rf"'x' has {len(ids)} tokens.* 'tiny-llama-1' .*{fix}"):
            prompt_ids(model, TASK, INPUT, "plain", [reader])


def test_an_encoder_has_room_for_the_prompt_and_its_decoder_for_the_output():
    model = tiny.language_model("t5")
    object.__setattr__(model, "max_tokens", 4)  # as BART has it, whose encoder and decoder read so many each
    assert len(prompt_ids(model, TASK, INPUT, "source")) == 3
    with pytest.raises(ModelError, match="shorten"):
        prompt_ids(model, TASK, replace(INPUT, source="abcd"), "source")
    with pytest.raises(ModelError, match=r"no room for 5 more .* to 4"):
        prompt_ids(model, replace(TASK, max_new_tokens=5), INPUT, "source")


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_token_that_was_added_without_a_row_is_named(kind):
    model = tiny.language_model(kind)
    model.tokenizer.add_tokens(["[NEW]"], special_tokens=True)
    style = default_style(model)
    with pytest.raises(ModelError, match=r"prompt of 'x' has the token '\[NEW\]' \(6\), and .* has 6 rows; resize"):
        prompt_ids(model, TASK, replace(INPUT, source="a[NEW]"), style)
    with pytest.raises(ModelError, match=r"reference 'a\[NEW\]b' has the token '\[NEW\]'"):
        target_ids(model, TASK, "a[NEW]b")


def test_a_template_that_asks_nothing_is_refused():
    model = tiny.language_model("llama")
    model.tokenizer.chat_template = "{{ '' }}"
    with pytest.raises(ModelError, match="'x' has no tokens"):
        prompt_ids(model, TASK, INPUT, "chat")


def test_a_target_ends_with_eos_unless_it_is_cut():
    model = tiny.language_model("t5")
    assert target_ids(model, TASK, "cd") == [C, D, 1]
    assert target_ids(model, TASK, "cdcdcd") == [C, D, C, D]
    assert text_of(model, [C, D, 1]) == "cd"


def test_a_target_ends_at_the_first_of_several_ends():
    model = tiny.language_model("t5", eos_ids=(1, D))
    assert target_ids(model, TASK, "cdc") == [C, D]
    assert target_ids(model, TASK, "cc") == [C, C, 1]


def test_an_output_is_read_without_its_end_even_if_that_is_an_ordinary_token():
    model = tiny.language_model("t5", eos_ids=(1, D))
    assert [output_text(model, ids) for ids in ([C, D], [C, 1], [C, A], [D], [])] == ["c", "c", "ca", "", ""]


def test_the_spaced_form_is_for_tokenizers_that_cannot_write_the_brackets():
    task = replace(TASK, calculator=True)
    assert text_form(tiny.language_model("t5"), task) == "spaced"
    assert text_form(tiny.language_model("t5"), TASK) == "native"
    every = (*tiny.CALCULATOR_WORDS, "3")
    assert text_form(tiny.language_model("t5", words=every), task) == "native"


def own(**prompts):
    return replace(TASK, prompts=replace(TASK.prompts, **prompts))


def test_text_behind_the_source_is_never_cut():
    model = tiny.language_model("t5")
    asked = prompt_ids(model, own(source="d{source}c"), replace(INPUT, source="ab" * 9), "source")
    assert asked == [D, A, B, A, B, A, C]


def test_a_system_turn_stands_before_the_users():
    model = tiny.language_model("llama")
    model.tokenizer.chat_template = "{% for m in messages %}{{ 'c' if m.role == 'system' }}{{ m.content }}{% endfor %}"
    assert prompt_ids(model, own(system="a"), INPUT, "chat") == [C, A, B, A, B, C]


def test_a_model_that_is_asked_nothing_starts_where_texts_start():
    model = tiny.language_model("llama")
    start = model.tokenizer.bos_token_id
    nothing = replace(own(plain="", source=""), fields={})
    assert prompt_ids(model, nothing, replace(INPUT, source=""), "plain") == [model.eos_id if start is None else start]


@pytest.mark.parametrize(("plain", "lead"), [("{source}:", True), ("{source}\n", False), ("", False)])
def test_only_behind_a_word_an_answer_begins_with_a_space(plain, lead):
    model = tiny.language_model("llama")
    with_space = target_ids(model, TASK, "ab")  # behind `Answer:`
    without = target_ids(model, own(plain="x\n"), "ab")
    assert with_space != without
    assert target_ids(model, own(plain=plain), "ab") == (with_space if lead else without)
