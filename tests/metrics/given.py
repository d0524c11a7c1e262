"""Items of metrics."""

from ketchup_eval.metrics.base import Item


def items(texts, references):
    """Outputs without sources; each has a reference, or a tuple of them."""
    return [
        Item("", text, (ref,) if isinstance(ref, str) else ref) for text, ref in zip(texts, references, strict=True)
    ]
