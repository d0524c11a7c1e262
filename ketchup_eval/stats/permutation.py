"""Paired permutation tests: could the sign of each input's difference have fallen this way by chance?"""

import numpy as np
from numpy.typing import NDArray

from ketchup_eval.stats.bootstrap import Array

BLOCK_ENTRIES = 1_000_000
"""Signs drawn at once, 8 bytes each."""
TIE = 1e-12
"""Relative slack within which two sums count as equal; a sum's rounding must not decide about a tie."""


def sign_flip_p_values(differences: Array, seed: int, trials: int = 10_000) -> list[float | None]:
    """Two-sided p-values of "the paired difference is symmetric about 0" for each column of `differences[n, m]`.

    An input's difference (a against b, all its samples or votes taken together) is the unit: under the null its sign
    is a fair coin, so p is the share of sign patterns whose |Σ ± d_i| reaches |Σ d_i|. All 2^n patterns are counted
    where they are no more than `trials`, which is exact. Otherwise `trials` are drawn from `seed` and the observed one
    counts as one more, p = (1 + hits) / (1 + trials), which is never 0 (Phipson and Smyth, 2010). Columns share the
    patterns. NaN marks an input without the quantity, which is left out; a column with none at all has no p-value.
    """
    if differences.ndim != 2:
        raise ValueError(f"differences are an array [n, m], not {list(differences.shape)}")
    if np.isinf(differences).any():
        raise ValueError("differences must be finite, or NaN where an input lacks the quantity")
    values = np.nan_to_num(differences)
    n = len(values)
    observed = np.abs(values.sum(axis=0))
    threshold = observed - TIE * np.abs(values).sum(axis=0)
    exact = n < 60 and 2**n <= trials
    patterns = 2**n if exact else trials
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK_ENTRIES // max(n, 1))
    hits: NDArray[np.int64] = np.zeros(values.shape[1], dtype=np.int64)
    for start in range(0, patterns, block):
        rows = min(block, patterns - start)
        if exact:
            bits = (np.arange(start, start + rows)[:, None] >> np.arange(n)) & 1
        else:
            bits = generator.integers(2, size=(rows, n), dtype=np.int8)
        hits += (np.abs((2.0 * bits - 1) @ values) >= threshold).sum(axis=0)
    p_values = hits / patterns if exact else (1 + hits) / (1 + patterns)
    present = np.count_nonzero(~np.isnan(differences), axis=0)
    return [float(p) if count else None for p, count in zip(p_values, present, strict=True)]
