"""The methods of training. A new one is a file with a `METHOD`, and a row here."""

from ketchup.methods import seqkd, sft
from ketchup.methods.base import Method

METHODS: dict[str, Method] = {method.name: method for method in (sft.METHOD, seqkd.METHOD)}
