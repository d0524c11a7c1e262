import pytest
from scipy.stats import false_discovery_control

from ketchup_eval.stats.multiplicity import holm


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_absent_tests_are_not_counted():
    assert holm([None, 0.02, None]) == [None, 0.02, None]
    assert holm([]) == []


def test_holm_lies_between_no_correction_and_bonferroni_and_above_the_false_discovery_rate():
    p_values = [0.001, 0.02, 0.9, 0.04, 0.04]
    adjusted = holm(p_values)
    for p, found, fdr in zip(p_values, adjusted, false_discovery_control(p_values), strict=True):
        assert max(p, fdr) <= found <= min(1, 5 * p)
