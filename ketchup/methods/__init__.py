"""The methods of training. A new one is a file with a function `build` of its options, and a row here."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from ketchup.errors import UsageError
from ketchup.failing import check_builder, failing, made
from ketchup.methods import gkd, js, ketchup, kl, llmr, reinforce, rkl, seqkd, sft, tvd
from ketchup.methods.base import Method
from ketchup.table import Table

Stage = Literal["pre-distillation", "divergence", "policy-gradient"]
"""When the paper uses a method: to make a starting point, or on top of it, with settings of its own."""


REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class MethodRow:
    """`build` makes the method of its options.

    Its signature is all that a command line reads of them: `alpha: Annotated[float, "what it does"] = 0.1`.
    """

    build: Callable[..., Method]
    stage: Stage

    def __post_init__(self) -> None:
        check_builder(self, self.build)
        if self.stage not in get_args(Stage):
            raise UsageError(f"the stage of a method is one of {', '.join(get_args(Stage))}, not {self.stage!r}")


METHODS: Table[MethodRow] = Table(
    MethodRow,
    {
        "sft": MethodRow(sft.build, "pre-distillation"),
        "seqkd": MethodRow(seqkd.build, "pre-distillation"),
        "kl": MethodRow(kl.build, "pre-distillation"),
        "js": MethodRow(js.build, "divergence"),
        "tvd": MethodRow(tvd.build, "divergence"),
        "rkl": MethodRow(rkl.build, "divergence"),
        "gkd": MethodRow(gkd.build, "divergence"),
        "llmr": MethodRow(llmr.build, "policy-gradient"),
        "ketchup": MethodRow(ketchup.build, "policy-gradient"),
        "reinforce": MethodRow(reinforce.build, "policy-gradient"),
    },
)


@dataclass(frozen=True)
class Option:
    """An option of some methods: `defaults` has each of these methods, `REQUIRED` where one must be told."""

    name: str
    kind: Any
    said: str
    defaults: Mapping[str, Any]


def options() -> dict[str, Option]:
    """The options of all methods by name, as the signatures of their builders have them.

    Raises `UsageError` for an option without a type that a command line can read, and for one of two types.
    """
    found: dict[str, Option] = {}
    for name, row in METHODS.items():
        for option, parameter in _parameters(row.build).items():
            kind, said = _kind_and_said(name, parameter)
            known = found.get(option, Option(option, kind, said, {}))
            if known.kind != kind:
                raise UsageError(f"{option} of {name} has another type than that of {', '.join(known.defaults)}.")
            found[option] = replace(known, defaults={**known.defaults, name: parameter.default})
    return found


@cache  # of hundreds of commands that a study looks at
def _parameters(build: Callable[..., Method]) -> Mapping[str, inspect.Parameter]:
    with failing(f"The signature of the method builder {getattr(build, '__name__', build)}"):
        return inspect.signature(build, eval_str=True).parameters


def _kind_and_said(method: str, parameter: inspect.Parameter) -> tuple[Any, str]:
    kind, *notes = get_args(parameter.annotation) if _is_annotated(parameter.annotation) else (parameter.annotation,)
    if kind not in (int, float, str, bool) and get_origin(kind) is not Literal:
        raise UsageError(
            f"{parameter.name} of the method {method} is no int, float, str, bool or Literal; write its type beside it."
        )
    said = notes[0] if notes else ""
    return kind, said() if callable(said) else str(said)


def _is_annotated(annotation: Any) -> bool:
    return get_origin(annotation) is Annotated


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
        if parameter.default is REQUIRED and parameter.name not in options:
            raise UsageError(f"The method {name} needs {_flag(parameter.name)}.")
    bound = signature.bind(**options)
    bound.apply_defaults()
    found = made(f"The method {name}", Method, lambda: METHODS[name].build(**bound.arguments))
    if found.name != name:
        raise UsageError(f"The method {name} calls itself {found.name}, as its runs would be called; mend it.")
    return replace(found, options=dict(bound.arguments))


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
