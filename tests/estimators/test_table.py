"""How rows are written and read, and what holds for every row of both tables."""

import subprocess
import sys

import pytest

from ketchup.errors import UsageError
from ketchup.estimators import BASELINES, ESTIMATORS, baseline, estimator

EXAMPLES = [text for row in ESTIMATORS.values() for text in row.examples]


def test_the_tables_need_no_torch():
    script = "import sys, ketchup.estimators; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        ("llmr", "llmr|gauge:raw"),
        ("k-step:4", "k-step:4|tail:segment|gauge:raw"),
        ("k-step:4:one-step", "k-step:4|tail:one-step|gauge:raw"),
        ("shrink:.250", "shrink:0.25|gauge:raw"),
        ("all-action", "all-action:1|gauge:raw"),
        ("soft", "soft|gauge:logprob"),
        ("reverse-kl:1e-3", "reverse-kl:0.001|gauge:logprob"),
    ],
)
def test_a_text_names_a_row_with_its_parameters(text, signature):
    assert estimator(text).signature("raw") == signature


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", r"There is no estimator 'nonsense'; use one of llmr, k-step:K\[:segment\|one-step\]"),
        ("", "There is no estimator ''"),
        ("LLMR", "There is no estimator 'LLMR'; did you mean llmr, of llmr, k-step"),
        ("shrin:0.5", "There is no estimator 'shrin'; did you mean shrink:C, of"),
        ("kstep:4", r"did you mean k-step:K\[:segment\|one-step\], of"),
        ("reverse_kl:0", "did you mean reverse-kl:GAMMA, of"),
        ("llmr:1", "'llmr:1' has 1 parameters; it is written llmr"),
        ("k-step", "'k-step' has 0 parameters; it is written k-step:K"),
        ("k-step:4:one-step:1", "has 3 parameters"),
        ("k-step:0", "The K of k-step must be at least 1, not 0"),
        ("k-step:2.5", "K is a whole number, not '2.5'"),
        ("k-step:", "K is a whole number, not ''"),
        ("shrink:1.5", "The c of shrink must be from 0 to 1, not 1.5"),
        ("shrink:-0.1", "The c of shrink must be from 0 to 1, not -0.1"),
        ("shrink:nan", "The c of shrink must be from 0 to 1, not nan"),
        ("shrink:half", "C is a number, not 'half'"),
        ("discount:2", "The γ of discount must be from 0 to 1, not 2.0"),
        ("all-action:9", "The c of all-action must be from 0 to 1, not 9.0"),
        ("reverse-kl", "'reverse-kl' has 0 parameters; it is written reverse-kl:GAMMA"),
        ("reverse-kl:inf", "The γ of reverse-kl must be from 0 to 1, not inf"),
        ("n-step:0", "The n of n-step must be at least 1, not 0"),
        ("placebo:sugar", "kind is constant or shuffled, not 'sugar'"),
        ("k-step:4:both", "tail is segment or one-step, not 'both'"),
    ],
)
def test_a_text_that_names_none_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        estimator(text)


def test_an_unknown_baseline_is_refused():
    with pytest.raises(UsageError, match="no baseline 'zero'; use one of none, mean, mean-per-step"):
        baseline("zero")
    with pytest.raises(UsageError, match="no baseline 'leave_one-out'; did you mean leave-one-out, of none, mean"):
        baseline("leave_one-out")


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_has_the_name_of_its_row(name):
    assert baseline(name).name == name


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_estimator_has_the_name_of_its_row(text):
    made = estimator(text)
    assert made.name.split(":")[0] == text.split(":")[0]
    again = estimator(f"{made.name}:{made.tail}" if made.tail else made.name)
    assert again.signature("raw") == made.signature("raw")


def test_every_row_has_examples():
    assert {text.split(":")[0] for text in EXAMPLES} == set(ESTIMATORS)
