"""Every command of a plan, looked at before any of them runs: a mistake costs a second, not a night."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ketchup.errors import UsageError

if TYPE_CHECKING:
    from ketchup_eval.study.node import Node
    from ketchup_eval.study.plan import MethodPlan, Plan

ANY_VALUE = "--serve-options"
"""An option whose value may look like an option."""


def check_commands(plan: "Plan", nodes: Iterable["Node"]) -> None:
    """Raises `UsageError` for the first of the commands that would be refused for its words, in its own words."""
    from ketchup_eval.cli.program import app

    # some versions of typer have their own copy of click, of whose errors they show this one alone
    refusal: type[Any] = typer.BadParameter.__mro__[1]

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    options: dict[str, Mapping[str, Any]] = {}
    for node in nodes:
        name, *words = node.words
        command = commands[name]
        try:
            if name not in options:
                options[name] = _options(command, name)
            _check_values(options[name], words)
            context = command.make_context(name, list(words))
            if name != "study":  # what a study does itself has no words of its own
                given = dict(context.params)
                command.check(context)
                _check_given(plan, node, given)
        except refusal as error:
            raise UsageError(f"{plan.file}: {node.name} would be no command: {error.format_message()}") from error
        except UsageError as error:
            raise UsageError(f"{plan.file}: {node.name} would be no command: {error}") from error
    if "train" in options:
        _check_methods_apart(plan)


def _options(command: Any, name: str) -> dict[str, Any]:
    """The options of a command by the words that name them."""
    context = command.context_class(command, info_name=name)
    return {word: option for option in command.get_params(context) for word in option.opts}


def _check_values(options: Mapping[str, Any], words: Sequence[str]) -> None:
    """A flag has no value and all else has one: a plan that mixes them up would be read as other words."""
    for word, after in zip(words, [*words[1:], None], strict=True):
        option = options.get(word)
        if option is None or option.param_type_name != "option":
            continue
        if option.is_flag and after is not None and not after.startswith("-"):
            raise UsageError(f"{word} is a flag; write true in place of {after}, or false.")
        if not option.is_flag and word != ANY_VALUE and (after is None or after in options):
            raise UsageError(f"{word} needs a value; write one in place of true.")


def _check_given(plan: "Plan", node: "Node", given: Mapping[str, Any]) -> None:
    """What a command finds out only beside its rows: whether these are there, and whether metrics fit the task."""
    from ketchup.tasks import task_named
    from ketchup_eval.metrics import metrics_for

    if given.get("metrics"):
        metrics_for(task_named(plan.tasks[node.labels["task"]].task), given["metrics"], given.get("bleu_tokenize"))
    data = given.get("data")
    if data is not None and not Path(data).is_dir():
        raise UsageError(f"its rows should be in {data}, which is no folder; mend `data` or give --data TASK=DIR.")


def _check_methods_apart(plan: "Plan") -> None:
    """Two methods that differ only in an option that has its default are one."""
    full = {name: _in_full(plan, method) for name, method in plan.methods.items()}
    for one, two in combinations(full, 2):
        if full[one] == full[two]:
            raise UsageError(
                f"{plan.file}: [methods.{one}] and [methods.{two}] are the same method twice, as one writes out "
                "what the other has by default; leave one of them out."
            )


def _in_full(plan: "Plan", method: "MethodPlan") -> tuple[str, dict[str, str]]:
    from ketchup.methods import options
    from ketchup_eval.study.plan import layered

    own = {
        name: option.defaults[method.method] for name, option in options().items() if method.method in option.defaults
    }
    return method.method, {
        name: str(value) for name, value in layered(own, plan.options["train"], method.options).items()
    }
