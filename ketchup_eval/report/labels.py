"""Names as figures show them."""

SHOWN = 7
"""Most rows of a panel of gradients that have a colour: those that point best at the batch that was asked for.

Matplotlib's eighth colour is the grey of all others.
"""


def row_label(estimator: str, baseline: str) -> str:
    """A row of the gradient's table in few words, from its signature and its baseline."""
    name = estimator.partition("|gauge")[0].replace("|tail:", ":")
    return name if baseline == "none" else f"{name}, {baseline}"
