"""The share of variance that goes with length, against truths that it is drawn from and least squares by numpy."""

import numpy as np
import pytest

from ketchup_eval.stats.intervals import ratios
from ketchup_eval.variance.lengths import length_variances


def drawn(inputs, samples, share, seed=0):
    """Returns of variance 4 about an input's own mean, `share` of it linear in lengths of 1 to 6 (variance 35 / 12)."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 7, size=(inputs, samples)).astype(float)
    noise = generator.normal(size=lengths.shape) * (4 * (1 - share)) ** 0.5
    own = generator.normal(scale=30, size=(inputs, 1))
    return own - (4 * share / (35 / 12)) ** 0.5 * lengths + noise, lengths


@pytest.mark.parametrize("samples", [3, 4, 32])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_few_samples_do_not_raise_it(samples, share):
    """The squares that a line explains would come to 0.5 and 0.33 at three and four samples without any relation."""
    parts = length_variances(*drawn(6000, samples, share))
    explained, total = parts.mean(axis=0)
    assert total == pytest.approx(4, rel=0.06)
    assert explained / total == pytest.approx(share, abs=0.03)


def test_each_input_is_that_of_least_squares():
    returns, lengths = drawn(5, 7, 0.5)
    for row, (x, y) in zip(length_variances(returns, lengths), zip(lengths, returns, strict=True), strict=True):
        (residual,) = np.polyfit(x, y, 1, full=True)[1]
        assert row == pytest.approx([y.var(ddof=1) - residual / 5, y.var(ddof=1)])


def test_inputs_of_which_too_little_is_known():
    returns, lengths = np.array([[1.0, 2.0, 7.0], [1.0, 2.0, 9.0]]), np.array([[4.0, 4.0, 4.0], [2.0, 3.0, 0.0]])
    parts = length_variances(returns, lengths)
    assert parts[0].tolist() == [0, pytest.approx(31 / 3)]  # all of one length: nothing explained
    assert np.isnan(parts[1]).all()  # only two rollouts are there
    parts = length_variances(*drawn(50, 2, 0.0))
    assert ratios(parts[:, :1], parts[:, 1:])[0].value is None
