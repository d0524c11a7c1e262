import numpy as np
import pytest
from scipy import stats

from ketchup_eval.stats.bootstrap import Estimate
from ketchup_eval.stats.seeds import mean_over_seeds


def test_the_interval_is_students():
    values = [1.0, 2.5, 4.0]
    found = mean_over_seeds(values)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (found.value, found.low, found.high, found.n) == pytest.approx((2.5, low, high, 3))


def test_one_seed_has_no_interval_and_none_no_value():
    assert mean_over_seeds([3.0]) == Estimate(3.0, None, None, 1)
    assert mean_over_seeds([]) == Estimate(None, None, None, 0)


def test_three_seeds_cover_at_the_nominal_rate():
    generator = np.random.default_rng(0)
    drawn = generator.normal(2.0, 3.0, size=(2000, 3)).tolist()
    inside = [e.low <= 2.0 <= e.high for e in map(mean_over_seeds, drawn)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)
