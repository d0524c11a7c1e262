"""Replies as judges write them, each with the ID that a careful reader would take from it, or none."""

import math
import re
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketchup_eval.judge.replies import preference_for_a, preferred_id

WHY = "Coherence: Summary A is easier to follow than Summary B."
REPLIES = [
    # as asked
    (f"{WHY}\nPreferred: A", "A"),
    (f"{WHY}\nPreferred: B", "B"),
    (f"{WHY}\nPreferred: B\n", "B"),
    (f"{WHY}\n\nPreferred: A\n\n", "A"),
    (f"{WHY}\r\nPreferred: A\r\n", "A"),
    ("Preferred: B", "B"),
    # brackets, quotes, markdown
    (f"{WHY}\nPreferred: [A]", "A"),
    (f"{WHY}\nPreferred: <B>", "B"),
    (f"{WHY}\nPreferred: (A)", "A"),
    (f'{WHY}\nPreferred: "B"', "B"),
    (f"{WHY}\nPreferred: 'A'.", "A"),
    (f"{WHY}\nPreferred: “A”", "A"),
    (f"{WHY}\n**Preferred:** A", "A"),
    (f"{WHY}\n**Preferred: B**", "B"),
    (f"{WHY}\n**Preferred**: **A**", "A"),
    (f"{WHY}\n*Preferred:* `B`", "B"),
    (f"### {WHY}\n### Preferred: A", "A"),
    (f"- {WHY}\n- Preferred: B", "B"),
    (f"> {WHY}\n> Preferred: B", "B"),
    (f"{WHY}\n  Preferred : A", "A"),
    (f"{WHY}\nPreferred:B", "B"),
    (f"{WHY}\nPreferred：A", "A"),
    # names of the candidates
    (f"{WHY}\nPreferred: Summary A", "A"),
    (f"{WHY}\nPreferred: Summary [B]", "B"),
    (f"{WHY}\nPreferred: [Summary A]", "A"),
    (f"{WHY}\nPreferred: the summary B.", "B"),
    (f"{WHY}\nPreferred: **Translation B**", "B"),
    (f"{WHY}\nPreferred: Summary ID: A", "A"),
    (f"{WHY}\nPreferred Summary: B", "B"),
    (f"{WHY}\nPreferred ID: A", "A"),
    (f"{WHY}\nMy preferred translation: B", "B"),
    # case and spelling
    (f"{WHY}\npreferred: a", "A"),
    (f"{WHY}\nPREFERRED: B", "B"),
    (f"{WHY}\nPrefered: A", "A"),
    (f"{WHY}\nPreffered: B", "B"),
    (f"{WHY}\nPreferrred: A", "A"),
    (f"{WHY}\nPerferred: B", "B"),
    # more text
    (f"{WHY}\nPreferred: A. It names the place.", "A"),
    (f"{WHY}\nPreferred: B, as it is shorter", "B"),
    (f"{WHY}\nPreferred: A (shorter)", "A"),
    (f"{WHY}\nPreferred: B - it is a better fit", "B"),
    (f"{WHY}\nPreferred: A\nI hope this helps!", "A"),
    (f"{WHY} Preferred: B", "B"),
    (f"{WHY}\nPreferred:\nA", "A"),
    (f"{WHY}\n**Preferred:**\n\n**Summary B**", "B"),
    # only the last line counts
    (f"Preferred: A\n{WHY}\nPreferred: B", "B"),
    ("Preferred: B\n" * 9, "B"),
    ("Preferred: A\nPreferred: both", None),
    (f"<think>\nPreferred: A? No.\n</think>\n{WHY}\nPreferred: B", "B"),
    ("<think>\nPreferred: A\n</think>\nI cannot decide.", None),
    ("<think>\nPreferred: A", None),
    # no choice
    ("", None),
    ("A", None),
    (WHY, None),
    ("Summary A is the preferred one.", None),
    (f"{WHY}\nPreferred:", None),
    (f"{WHY}\nPreferred: C", None),
    (f"{WHY}\nPreferred: <summary ID>", None),
    (f"{WHY}\nPreferred: both", None),
    (f"{WHY}\nPreferred: neither", None),
    (f"{WHY}\nPreferred: tie", None),
    (f"{WHY}\nPreferred: A or B", None),
    (f"{WHY}\nPreferred: A/B", None),
    (f"{WHY}\nPreferred: A, B", None),
    (f"{WHY}\nPreferred: A and B", None),
    (f"{WHY}\nPreferred: A (B is worse)", None),
    (f"{WHY}\nPreferred: AB", None),
    (f"{WHY}\nPreferred: A concise summary would say more", None),
    (f"{WHY}\nPreferred: Both A", None),
    (f"{WHY}\nPreference: A", None),
    (f"{WHY}\nNot preferred: A", None),
    (f"{WHY}\nPreferred: not A", None),
    ("I'm sorry, but I can't compare these texts.", None),
]


BEHIND = [  # what servers leave behind the choice, or models write there
    *["<|eot_id|>", "</s>", "<|im_end|>", "<|endoftext|>", "<end_of_turn>", "<｜end▁of▁sentence｜>", "<|return|>"],
    *["<|END_RESPONSE|>", "<turn|>", " [/INST]", "</answer>", "<|end_of_solution|>", "<|unknown|>", "<eos>"],
    *["<|im_end|>\n<|im_start|>user\nPreferred: A", "</s>\n\nPreferred: A", "<|eot_id|>assistant\n\nPreferred: A"],
    *["。", "。很好", "！", "．", "，因为更短", "；", "、", "：", "\u200b", "\ufeff", "\u00a0", "**。"],
]
VALUES = [  # how the choice itself may be written
    *[r"\boxed{B}", r"$\boxed{B}$", r"\(\boxed{\text{B}}\)", r"\textbf{B}", r"$B$", r"\boxed{Summary B}", r"\[B\]"],
    *[
        "Ｂ",
        "（Ｂ）",
        "【B】",
        "「B」",
        "«B»",
        "𝐁",
        "<b>B</b>",
        "<answer>B</answer>",
        "<|begin_of_box|>B<|end_of_box|>",
    ],
]
NO_VALUES = [
    *[
        r"\boxed{A} or \boxed{B}",
        r"\boxed{A or B}",
        "<A> B",
        "B<A>",
        "B: A",
        "B。 A比较差",
        "Ａ／Ｂ",
        "<ID>",
        "ＡＢ",
    ],
]
THOUGHTS = [
    *[("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<Thought_Process>", "</Thought_Process>")],
    *[("<reasoning>", "</reasoning>"), ("<scratchpad>", "</scratchpad>"), ("<seed:think>", "</seed:think>")],
    *[("[THINK]", "[/THINK]"), ("◁think▷", "◁/think▷"), ("<|START_THINKING|>", "<|END_THINKING|>")],
    *[("<|begin_of_thought|>", "<|end_of_thought|>"), ("<unused94>thought", "<unused95>")],
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel>thought", "<channel|>"),
    ("analysisWe compare.", "assistantfinal"),
]


@pytest.mark.parametrize("behind", BEHIND)
def test_what_stands_behind_the_choice(behind):
    assert preferred_id(f"{WHY}\nPreferred: B{behind}") == "B"


@pytest.mark.parametrize("value", VALUES)
def test_a_choice_in_other_clothes(value):
    assert preferred_id(f"{WHY}\nPreferred: {value}") == "B"
    if "b>" not in value:
        assert preferred_id(f"{WHY}\nPreferred: {value.translate(str.maketrans('BＢ𝐁', 'AＡ𝐀'))}") == "A"


@pytest.mark.parametrize("value", NO_VALUES)
def test_what_is_no_choice_in_any_clothes(value):
    assert preferred_id(f"{WHY}\nPreferred: {value}") is None


@pytest.mark.parametrize(
    "line", [r"\boxed{Preferred: B}", '{"Preferred": "B"}', "很好。Preferred: B", "「Preferred：B」"]
)
def test_a_line_in_other_clothes(line):
    assert preferred_id(f"{WHY}\n{line}") == "B"


@pytest.mark.parametrize(("start", "end"), THOUGHTS)
def test_thoughts_are_no_reply(start, end):
    draft = f"{start}\nWe compare.\nPreferred: A\nBut wait"
    assert preferred_id(draft) is None
    assert preferred_id(f"{draft}{end}") is None
    assert preferred_id(f"{draft}{end}{WHY}\nPreferred: B") == "B"
    assert preferred_id(f"{draft}\n{end}\n\nPreferred: B") == "B"
    without_start = draft.removeprefix(start)  # as chat templates write it themselves
    assert preferred_id(f"{without_start}{end}{WHY}\nPreferred: B") == "B"


def test_thoughts_behind_the_choice_leave_it_as_it_is():
    assert preferred_id("Preferred: B\n<think>Preferred: A</think>") == "B"
    assert preferred_id("Preferred: B\n<reason>A is too long.</reason>") == "B"


@pytest.mark.parametrize(("reply", "expected"), REPLIES)
def test_a_reply(reply, expected):
    assert preferred_id(reply) == expected


@pytest.mark.parametrize(("reply", "expected"), REPLIES)
def test_the_mirrored_reply_prefers_the_other(reply, expected):
    """No spelling is read for one ID only."""
    mirrored = re.sub(r"\b[ABab]\b", lambda id: id[0].translate(str.maketrans("ABab", "BAba")), reply)
    assert preferred_id(mirrored) == {"A": "B", "B": "A", None: None}[expected]


@given(st.text(), st.sampled_from(["", "\n", " "]))
def test_text_without_a_label_is_unparsed(text, end):
    assert preferred_id(text.replace(":", "").replace("：", "") + end) is None


@given(st.text(alphabet="AB preferd:\n*[]"), st.sampled_from("AB"))
def test_the_last_line_decides_whatever_goes_before(before, chosen):
    assert preferred_id(f"{before}\nPreferred: {chosen}") == chosen


@pytest.mark.parametrize(
    "reply", ["Preferred: A", "Preferred: A\n", "Preferred: A\nThe reason", "So\nPreferred: A\nBut wait"]
)
def test_a_reply_that_was_cut_has_no_choice(reply):
    """A line before the cut may be a draft, in thoughts that have no marks."""
    assert preferred_id(reply) == "A"
    assert preferred_id(reply, cut=True) is None


def test_a_reply_whose_turn_ended_was_not_cut_where_it_says_so():
    assert preferred_id("Preferred: A<|eot_id|>\nWhat else?", cut=True) == "A"
    assert preferred_id("<think>Preferred: B</s></think>Preferred: A\nBut wait", cut=True) is None


def soft(choice, alternatives, before="Why: A or B.\nPreferred:"):
    tokens = [before, choice]
    return preference_for_a("".join(tokens), tokens, [{before: 0.0}, alternatives])


def test_soft_preference_is_the_probability_of_a_against_b_alone():
    """0.5 on " A" and 0.1 on "A" against 0.2 on " B": 0.6 / 0.8."""
    alternatives = {" A": math.log(0.5), "A": math.log(0.1), " B": math.log(0.2), " both": math.log(0.2)}
    assert soft(" A", alternatives) == pytest.approx(0.75)
    assert soft(" B", alternatives) == pytest.approx(0.75)


def test_the_token_that_ends_a_reply_is_no_part_of_it():
    tokens = ["Preferred:", " A", "<|im_end|>"]
    assert preference_for_a("Preferred: A", tokens, [{}, {" A": -1.0, " B": -1.0}, {}]) == 0.5


def test_soft_preference_is_unknown_without_the_token():
    assert soft(" A", {" both": -0.1}) is None
    assert soft(" both", {" A": -0.1}) is None
    assert preference_for_a("Preferred: A", ["Preferred:"], [{"Preferred:": 0.0}]) is None


def test_an_id_that_cannot_be_among_the_likeliest_has_no_probability():
    assert soft(" A", {" A": -0.001}) == 1
    assert soft(" B", {" B": -0.001}) == 0


@pytest.mark.parametrize(
    "piece", ["\n", " ", "*", "(", "<", "</", "<|", "#", ".", "A ", "$", "\\boxed{", "<think>", "Preferred: "]
)
@pytest.mark.parametrize("reply", ["{}", "Preferred: {}y", "Preferred: A{}y", "Preferred{}: A"])
def test_a_long_run_of_anything_is_read_in_linear_time(reply, piece):
    """A hundred thousand characters; in quadratic time they would take minutes."""
    start = process_time()
    preferred_id(reply.replace("{}", piece * (100_000 // len(piece))))
    assert process_time() - start < 2
