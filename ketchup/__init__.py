"""Reinforcement-learning knowledge distillation of language models, measured.

What this module shows is public: it is documented in docs/api.md, and stays as it is between minor versions. All else
may change. Names are loaded when they are first used; `credit` and `k_step_returns` need torch alone, the tables not
even that.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `_PLACES` says, for type checkers
    from ketchup.estimators import BASELINES, ESTIMATORS
    from ketchup.estimators.face import Weighted, credit
    from ketchup.maths.returns import k_step_returns
    from ketchup.rollouts.face import Pair, Sampled, Scored, load, sample, score
    from ketchup_eval.comparison.compare import CompareResult, Comparison
    from ketchup_eval.evaluation.evaluate import Evaluation
    from ketchup_eval.evaluation.scores import Score
    from ketchup_eval.face import compare, evaluate, judge, measure
    from ketchup_eval.judge.results import JudgeResult, Preference
    from ketchup_eval.stats.bootstrap import Estimate
    from ketchup_eval.variance.estimates import ReturnEstimate
    from ketchup_eval.variance.result import StudentResult, VarianceResult

__version__ = "0.1.0"
__all__ = [
    "BASELINES",
    "ESTIMATORS",
    "CompareResult",
    "Comparison",
    "Estimate",
    "Evaluation",
    "JudgeResult",
    "Pair",
    "Preference",
    "ReturnEstimate",
    "Sampled",
    "Score",
    "Scored",
    "StudentResult",
    "VarianceResult",
    "Weighted",
    "compare",
    "credit",
    "evaluate",
    "judge",
    "k_step_returns",
    "load",
    "measure",
    "sample",
    "score",
]

_PLACES = {
    "ketchup.estimators": ("BASELINES", "ESTIMATORS"),
    "ketchup.estimators.face": ("Weighted", "credit"),
    "ketchup.maths.returns": ("k_step_returns",),
    "ketchup.rollouts.face": ("Pair", "Sampled", "Scored", "load", "sample", "score"),
    # The analysis is on top of this package, which works without it and names it nowhere else.
    "ketchup_eval.comparison.compare": ("CompareResult", "Comparison"),
    "ketchup_eval.evaluation.evaluate": ("Evaluation",),
    "ketchup_eval.evaluation.scores": ("Score",),
    "ketchup_eval.face": ("compare", "evaluate", "judge", "measure"),
    "ketchup_eval.judge.results": ("JudgeResult", "Preference"),
    "ketchup_eval.stats.bootstrap": ("Estimate",),
    "ketchup_eval.variance.estimates": ("ReturnEstimate",),
    "ketchup_eval.variance.result": ("StudentResult", "VarianceResult"),
}
"""Where the public names are kept."""
_PLACE = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    """The public name, loaded at its first use (PEP 562)."""
    if name not in _PLACE:
        raise AttributeError(f"module 'ketchup' has no attribute {name!r}; public are {', '.join(__all__)}")
    found = getattr(import_module(_PLACE[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
