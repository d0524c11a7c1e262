"""Whether there is an engine, said before anything slow is imported."""

from ketchup.choices import READY_ENGINES, EngineName
from ketchup.errors import UsageError


def check_engine(name: EngineName) -> None:
    """Raises `UsageError` for an engine that is neither ready nor a plug-in's."""
    if name in READY_ENGINES:
        return
    from ketchup.rollouts.engines import ENGINES  # noqa: PLC0415  (torch, which a plug-in's has loaded)

    if name not in ENGINES:
        known = dict.fromkeys([*READY_ENGINES, *ENGINES])
        raise UsageError(f"--engine is {name!r}: use one of {', '.join(known)}, or name a --plugin that adds it.")
