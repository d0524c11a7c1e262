"""The methods of training. A new one is a file with a `Method`, and a row here."""

from ketchup.methods.base import Method
from ketchup.methods.cross_entropy import SEQKD, SFT

METHODS: dict[str, Method] = {method.name: method for method in (SFT, SEQKD)}
