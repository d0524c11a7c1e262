from itertools import product

import numpy as np
import pytest
from scipy import stats as scipy_stats

from ketchup_eval.stats import permutation
from ketchup_eval.stats.permutation import sign_flip_p_values


def literal_p_value(differences):
    """All sign patterns, one after the other."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product([-1, 1], repeat=len(differences))
    ]
    return sum(total >= observed - 1e-9 for total in sums) / len(sums)


def test_few_inputs_are_enumerated():
    generator = np.random.default_rng(0)
    differences = generator.normal(0.4, 1, size=(9, 3)).round(1)
    expected = [literal_p_value(column) for column in differences.T.tolist()]
    assert sign_flip_p_values(differences, seed=0) == pytest.approx(expected)


def test_many_inputs_agree_with_scipy():
    differences = np.random.default_rng(1).normal(0.15, 1, size=(200, 1))
    found = scipy_stats.permutation_test(
        (differences[:, 0],), np.sum, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(2)
    )
    [p] = sign_flip_p_values(differences, seed=3, trials=20_000)
    assert p == pytest.approx(found.pvalue, abs=4 * (found.pvalue / 20_000) ** 0.5)


def test_equal_systems_are_rejected_at_the_nominal_rate():
    generator = np.random.default_rng(4)
    differences = generator.standard_t(3, size=(40, 2000))
    p_values = np.array(sign_flip_p_values(differences, seed=5, trials=2000))
    assert (p_values <= 0.05).mean() == pytest.approx(0.05, abs=0.015)


def test_no_difference_is_no_evidence_and_absent_is_not_zero():
    differences = np.array([[0.0, np.nan, 1.0], [0.0, np.nan, np.nan]])
    assert sign_flip_p_values(differences, seed=0) == [1.0, None, 1.0]
    assert sign_flip_p_values(np.zeros((0, 1)), seed=0) == [None]


def test_absent_inputs_do_not_move_the_result():
    differences = np.random.default_rng(6).normal(0.5, 1, size=(8, 1))
    longer = np.concatenate([differences, np.full((3, 1), np.nan)])
    assert sign_flip_p_values(longer, seed=0) == pytest.approx(sign_flip_p_values(differences, seed=0))


def test_blocks_do_not_show(monkeypatch):
    differences = np.random.default_rng(7).normal(0.3, 1, size=(50, 2))
    whole = sign_flip_p_values(differences, seed=1, trials=500)
    monkeypatch.setattr(permutation, "BLOCK_ENTRIES", 50 * 128)
    assert sign_flip_p_values(differences, seed=1, trials=500) == whole


@pytest.mark.parametrize("differences", [np.zeros(3), np.array([[np.inf]])])
def test_malformed_differences_are_refused(differences):
    with pytest.raises(ValueError, match="differences"):
        sign_flip_p_values(differences, seed=0)
