"""What must be equal before two of a judge's numbers may be compared, as one line."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import ketchup
from ketchup_eval.judge.plan import Plan
from ketchup_eval.judge.protocol import VARIANTS
from ketchup_eval.judge.verdicts import Verdict


def signature(plan: Plan, criterion: str, items: int, verdicts: Sequence[Verdict]) -> str:
    """The signature of a comparison over `items` with these verdicts.

    A temperature that the server did not take is `default`, and `adapted` names all parameters that it did not take,
    each with the name under which it was sent, or `none`. What differs among the verdicts stands side by side.
    """
    sampling = plan.settings.sampling
    ways = [verdict.adapted for verdict in verdicts if not verdict.is_refusal] or [{}]
    adapted = _each(_described(way) for way in ways)
    parts = {
        "judge": Path(sampling.model).name if Path(sampling.model).exists() else sampling.model,
        "criterion": criterion,
        "prompt": plan.prompt_hash(criterion),
        "variants": len(VARIANTS),
        "temp": _each("default" if "temperature" in way else f"{sampling.temperature:g}" for way in ways),
        "max_tokens": sampling.max_tokens,
        **({"adapted": adapted} if adapted else {}),
        "constrained": "yes" if sampling.constrained else "no",
        "n": items,
        "seed": sampling.seed,
        "version": ketchup.__version__,
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())


def _described(adapted: Mapping[str, str | None]) -> str:
    return ",".join(f"{name}={other or 'none'}" for name, other in sorted(adapted.items()))


def _each(texts: Iterable[str]) -> str:
    return "/".join(sorted(set(texts)))
