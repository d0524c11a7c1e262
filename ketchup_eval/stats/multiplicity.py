"""Several tests of one family: how sure one may be of any of them."""

from collections.abc import Sequence


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's (1979) adjusted p-values, in the order given; a test without a p-value stays `None` and is not counted.

    Rejecting every adjusted p ≤ α keeps the chance of even one false rejection at or below α, whatever the
    dependence between the tests.
    """
    order = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        adjusted[index] = largest
    return adjusted
