"""Reinforcement-learning knowledge distillation of language models, measured.

What this module shows is public: it is documented in docs/api.md, and stays as it is between minor versions. All else
may change. Names are loaded when they are first used; `credit` and the tables need torch alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ketchup.estimators import BASELINES, ESTIMATORS
    from ketchup.estimators.face import Weighted, credit
    from ketchup.maths.returns import k_step_returns

__version__ = "0.1.0"
__all__ = ["BASELINES", "ESTIMATORS", "Weighted", "credit", "k_step_returns"]

_PLACES = {
    "BASELINES": "ketchup.estimators",
    "ESTIMATORS": "ketchup.estimators",
    "Weighted": "ketchup.estimators.face",
    "credit": "ketchup.estimators.face",
    "k_step_returns": "ketchup.maths.returns",
}
"""Where each public name is kept."""


def __getattr__(name: str) -> Any:
    """The public name, loaded at its first use (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module 'ketchup' has no attribute {name!r}; public are {', '.join(__all__)}")
    found = getattr(import_module(_PLACES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
