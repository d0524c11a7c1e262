"""Every fault has a wrong function and a right one: the first is found and called by its name, the second passes."""

from pathlib import Path

import pytest

from ketchup_eval.audit.verdict import audit

TWINS = Path(__file__).parent / "twins"
FAULTS = {
    # file: (signature, what it should be, kind of finding, words of its sentence)
    "backwards": ("weights", "sequence-kl", "backwards", "Wrong direction of time"),
    "next_action": ("weights", "sequence-kl", "off-by-one", "value of the next action"),
    "previous_action": ("weights", "state-kl", "off-by-one", "value of the previous action"),
    "state_alone": ("weights", "state-kl", "zero", "depend on the state alone"),
    "padding": ("weights", "sequence-kl", "padding-logits", "the logits in padding"),
    "padding_token": ("weights", "sequence-kl", "padding-token", "which token stands in padding, after the end"),
    "padding_side": ("weights", None, "padding-side", "the side of the padding"),
    "width": ("loss", "sequence-kl", "width", "the width of the batch"),
    "row_order": ("weights", "sequence-kl", "row-order", "the order of the rows"),
    "other_prompts": ("weights", "sequence-kl", "other-prompts", "the outputs of other prompts"),
    "constant_of_a_state": ("weights", "expected-return", "gauge", "the teacher's logits of a state"),
    "environment_tokens": ("weights", "sequence-kl", "environment-tokens", "tokens of the environment"),
    "dtype": ("weights", "sequence-kl", "dtype", "float32 or float64"),
    "rounding": ("weights", "sequence-kl", "rounded", "bfloat16"),
    "end_left_out": ("weights", "sequence-kl", "end-token", "The end token is left out"),
    "end_twice": ("weights", "sequence-kl", "end-token", "The end token is counted twice"),
    "cut_as_ended": ("weights", "sequence-kl", "cut-as-ended", "as though they had ended"),
    "cut_ignored": ("weights", "sequence-kl", "cut-ignored", "cut have no weight"),
    "by_length": ("loss", "sequence-kl", "divided-by-length", "divided by its length"),
    "by_what_remains": ("weights", "sequence-kl", "divided-by-remaining", "the number of actions that are left"),
    "standardised": ("weights", "sequence-kl", "standardised", "standard deviation"),
    "whitened": ("weights", "sequence-kl", "standardised", "standard deviation"),
    "clamped_terms": ("weights", "sequence-kl", "clamped", "A clamp holds log p - log π at -2;"),
    "clamped_weights": ("weights", "sequence-kl", "clamped", "A clamp holds weights at -4;"),
    "sign": ("loss", "sequence-kl", "wrong-sign", "climbs down"),
    "lost_future": ("loss", "sequence-kl", "zero", "teaches nothing"),
    "no_actions": ("loss", "sequence-kl", "no-actions", "no actions"),
    "top_k": ("loss", "state-forward-kl", None, "none of the known objectives"),
}


def test_every_pair_is_judged():
    assert {path.stem for path in TWINS.glob("[a-z]*.py")} == set(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_the_wrong_one_is_found_and_named(name):
    signature, expect, kind, words = FAULTS[name]
    found = audit(f"{TWINS / name}.py:wrong", signature, expect)
    assert found.as_expected is (None if expect is None else False)
    if kind is None:
        assert words in found.verdict
        return
    (finding,) = [finding for finding in found.findings if finding.kind == kind]
    assert finding.level == "fault"
    assert words in finding.sentence


@pytest.mark.parametrize("name", FAULTS)
def test_the_right_one_passes(name):
    signature, expect, *_ = FAULTS[name]
    found = audit(f"{TWINS / name}.py:right", signature, expect)
    assert [fault.sentence for fault in found.faults] == []
    assert found.as_expected is (None if expect is None else True)
