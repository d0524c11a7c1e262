"""What `--engine` may be, said before anything slow is imported."""

import re
import sys

from ketchup import checks
from ketchup.choices import READY_ENGINES, EngineName
from ketchup.errors import UsageError

IN_PARTS = ":tp"
"""Before the number of GPUs that one model is spread over (tensor parallelism): `vllm:tp4`, `vllm:bfloat16:tp2`."""


def row_of(name: EngineName) -> tuple[EngineName, int]:
    """An engine's row of the table, and how many GPUs it takes for one model."""
    row, mark, parts = name.rpartition(IN_PARTS)
    return (row, int(parts)) if mark and re.fullmatch("[1-9][0-9]{0,5}", parts) else (name, 1)


def check_engine(name: EngineName) -> None:
    """Raises `UsageError` for an engine that is neither ready nor a plug-in's."""
    if name in READY_ENGINES:
        return
    if IN_PARTS in name:
        _check_in_parts(name)
        return
    table = sys.modules.get("ketchup.rollouts.engines")  # which a plug-in that adds a row has loaded, and torch with it
    rows = table.ENGINES if table else {}
    if name not in rows:
        known = dict.fromkeys([*READY_ENGINES, *rows])
        raise UsageError(f"--engine is {name!r}: use one of {', '.join(known)}, or name a --plugin that adds it.")


def _check_in_parts(name: EngineName) -> None:
    if name.partition(":")[0] != "vllm":
        raise UsageError(f"--engine is {name!r}: only vLLM spreads one model over several GPUs; use vllm{IN_PARTS}N.")
    row, parts = row_of(name)
    if row not in READY_ENGINES or not 2 <= parts <= checks.MOST_WORKERS:
        ways = " or ".join(f"{ready}{IN_PARTS}N" for ready in READY_ENGINES if ready.partition(":")[0] == "vllm")
        raise UsageError(f"--engine is {name!r}: it is {ways}, N being from 2 to {checks.MOST_WORKERS:,} GPUs.")
