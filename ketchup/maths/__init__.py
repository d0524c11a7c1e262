"""The method's formulas as pure functions of tensors: no files, no devices chosen, no hidden randomness.

One legend for every shape in this package:

    R  rollouts = inputs x samples per input; the samples of one input are neighbours
    T  actions of a rollout, padded on the right; index t counts what the student chose, not what a calculator inserted
    V  vocabulary
    K  the segment lengths asked for

A rollout of L actions has states s_0 .. s_{L-1} and actions a_0 .. a_{L-1}; the end-of-sequence token is the last
action when the student emitted it. A mask is boolean and true at actions. The teacher gives q_t = q(s_t, a_t), its
logit of the action taken, and v_t = max_a q(s_t, a), in nats up to a constant per state (see `gauges`).

"Eq." and "Alg." number the formulas of Fan et al., *KETCHUP: K-Step Return Estimation for Sequential Knowledge
Distillation* (arXiv 2504.19024).
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ketchup.maths import baselines, distances, divergences, gauges, importance, masked, returns, tabular

__all__ = ["baselines", "distances", "divergences", "gauges", "importance", "masked", "returns", "tabular"]


def __getattr__(name: str) -> ModuleType:
    """A module of formulas, loaded when it is first used: whoever only names a row of a table needs no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
