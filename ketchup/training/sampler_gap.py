"""How far what drew a step's rollouts is from what is trained, in the log of the run: see `ketchup.maths.importance`.

`sampler_gap` is the mean of |log μ - log π| per action and `sampler_kl` KL(μ ‖ π) per action, both in nats;
`sampler_effective_share` is (Σ w)² / n Σ w² over all n rollouts of the step.
"""

import logging
from functools import cache

from ketchup.maths.importance import LEAST_SHARE

_log = logging.getLogger(__name__)


def with_effective_share(means: dict[str, float]) -> dict[str, float]:
    """The means per action of a step, the effective share in place of those that it follows from."""
    names = ("sampler_ratio", "sampler_ratio_squared", "sampler_rollouts")
    kept = {name: value for name, value in means.items() if name not in names}
    if names[0] in means:
        ratio, squared, rollouts = (means[name] for name in names)
        kept["sampler_effective_share"] = ratio**2 / (squared * rollouts)
    return kept


def say_if_far(entry: dict[str, float], run: str) -> None:
    """A warning, once a run, at the first step in which the gap is worth one."""
    if entry.get("sampler_effective_share", 1.0) < LEAST_SHARE:
        _say(run)


@cache
def _say(run: str) -> None:
    _log.warning(
        "%s: fewer than %.0f%% of a step's rollouts are effective (sampler_effective_share in metrics.jsonl), as what "
        "draws them computes another distribution than what is trained; use --correct-sampler, or an engine of the "
        "same precision.",
        run,
        100 * LEAST_SHARE,
    )
