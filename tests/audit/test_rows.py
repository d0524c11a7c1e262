"""Our own rows are audited as what their row says."""

import pytest

from ketchup.estimators import BASELINES, ESTIMATORS, baseline, estimator
from ketchup_eval.audit.verdict import audit

TEXTS = [text for row in ESTIMATORS.values() for text in row.examples]
SOURCE = """
import ketchup

def row(teacher_logits, student_logits, ids, mask, groups):
    return ketchup.credit(
        teacher_logits, ids, mask, student_logits=student_logits, estimator={text!r}, baseline={less!r}, groups=groups
    ).weights
"""
ALL_ACTION = """
def row(teacher_logits, student_logits, student_logprobs, ids, mask):
    q = teacher_logits.gather(-1, ids[..., None])[..., 0]
    advantages = (q - teacher_logits.amax(-1)) * mask
    later = advantages.flip(1).cumsum(1).flip(1) - advantages
    own = (student_logits.softmax(-1) * teacher_logits).sum(-1)
    return -((own + {c} * later * student_logprobs) * mask).sum()
"""


def audited(folder, text, less="none", expect=None):
    file = folder / "row.py"
    if text.startswith("all-action"):
        file.write_text(ALL_ACTION.format(c=text.partition(":")[2]))
        return audit(f"{file}:row", "loss", expect)
    file.write_text(SOURCE.format(text=text, less=less))
    return audit(f"{file}:row", "weights", expect)


@pytest.mark.parametrize("text", TEXTS)
def test_a_row_is_what_it_says(tmp_path, text):
    row = estimator(text)
    expected = row.objective.name if row.unbiased else text
    found = audited(tmp_path, text, expect=expected)
    assert found.as_expected
    if row.unbiased:
        assert found.match.name == row.objective.name
    else:  # biased rows have their parameters found; the first term over all actions changes no expectation
        assert found.match.name == text.replace("all-action", "shrink")
        assert audited(tmp_path, text, expect=row.objective.name).as_expected is False


@pytest.mark.parametrize("less", BASELINES)
def test_a_baseline_is_as_unbiased_as_it_says(tmp_path, less):
    found = audited(tmp_path, "llmr", less, expect="expected-return")
    assert found.as_expected == baseline(less).unbiased
    kinds = {finding.kind for finding in found.findings}
    assert ("standardised" in kinds) == (less == "grpo")


def test_no_row_of_the_table_has_less_variance_than_the_one_that_is_named(tmp_path):
    def ratio(text, less):
        found = audited(tmp_path, text, less)
        return next(finding.figures["ratio"] for finding in found.findings if finding.kind == "variance")

    ratios = [ratio("reverse-kl:1", less) for less in ("none", "own-value", "leave-one-out-per-step")]
    assert min(ratios) == pytest.approx(1)
    assert max(ratios) > 1.05
