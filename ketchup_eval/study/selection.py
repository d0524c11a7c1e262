"""The part of a graph that is asked for."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch

from ketchup.errors import UsageError
from ketchup_eval.study.node import KINDS, Node


def selected(nodes: Mapping[str, Node], only: Sequence[str], until: Sequence[str]) -> dict[str, Node]:
    """The part of a graph that is asked for by names, kinds, or patterns of names; all where nothing is.

    `only` these nodes, and `until`: those and all that they need. Raises `UsageError` for what nothing is called.
    """
    if not only and not until:
        return dict(nodes)
    wanted = _matching(nodes, "--only", only) | _with_needs(nodes, _matching(nodes, "--until", until))
    return {name: node for name, node in nodes.items() if name in wanted}


def _matching(nodes: Mapping[str, Node], option: str, patterns: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        hit = {name for name, node in nodes.items() if pattern == node.kind or fnmatch(name, pattern)}
        if not hit:
            raise UsageError(
                f'{option} "{pattern}" is neither a result of the plan nor one of {", ".join(KINDS)}; --dry-run names '
                "all."
            )
        found |= hit
    return found


def _with_needs(nodes: Mapping[str, Node], names: set[str]) -> set[str]:
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += nodes[name].needs
    return found
