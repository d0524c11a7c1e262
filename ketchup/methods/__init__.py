"""The methods of training. A new one is a file with a function `build` of its options, and a row here."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ketchup.errors import UsageError
from ketchup.methods import gkd, js, ketchup, kl, llmr, reinforce, rkl, seqkd, sft, tvd
from ketchup.methods.base import Method
from ketchup.table import Table

Stage = Literal["pre-distillation", "divergence", "policy-gradient"]
"""When the paper uses a method: to make a starting point, or on top of it, with settings of its own."""


@dataclass(frozen=True)
class Row:
    """`build` makes the method of its options."""

    build: Callable[..., Method]
    stage: Stage


METHODS: Table[Row] = Table(
    {
        "sft": Row(sft.build, "pre-distillation"),
        "seqkd": Row(seqkd.build, "pre-distillation"),
        "kl": Row(kl.build, "pre-distillation"),
        "js": Row(js.build, "divergence"),
        "tvd": Row(tvd.build, "divergence"),
        "rkl": Row(rkl.build, "divergence"),
        "gkd": Row(gkd.build, "divergence"),
        "llmr": Row(llmr.build, "policy-gradient"),
        "ketchup": Row(ketchup.build, "policy-gradient"),
        "reinforce": Row(reinforce.build, "policy-gradient"),
    }
)


def method(name: str, options: Mapping[str, Any]) -> Method:
    """The named method with the given options, and the defaults of those that are not given.

    Raises `UsageError` for an unknown method, an option that is another method's, and one that is missing.
    """
    if name not in METHODS:
        raise UsageError(f"There is no method {name!r}; use one of {', '.join(METHODS)}.")
    signature = inspect.signature(METHODS[name].build)
    for option in options:
        if option not in signature.parameters:
            owners = [other for other, row in METHODS.items() if option in inspect.signature(row.build).parameters]
            raise UsageError(f"{_flag(option)} is an option of {', '.join(owners)}, not of {name}; leave it out.")
    for parameter in signature.parameters.values():
        if parameter.default is parameter.empty and parameter.name not in options:
            raise UsageError(f"The method {name} needs {_flag(parameter.name)}.")
    bound = signature.bind(**options)
    bound.apply_defaults()
    return replace(METHODS[name].build(**bound.arguments), options=dict(bound.arguments))


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
