"""Writes docs/api.md from the docstrings of what `import ketchup` shows.

python scripts/api_page.py
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import ketchup
from ketchup.choices import READY_ENGINES
from ketchup.files import atomic_write_text

PAGE = Path(__file__).parents[1] / "docs/api.md"
PARTS = {
    "In a trainer of one's own": ("credit", "Weighted", "k_step_returns", "ESTIMATORS", "BASELINES"),
    "Models, what they write, and what that is worth": ("load", "Pair", "sample", "Sampled", "score", "Scored"),
    "A variance study": ("measure", "VarianceResult", "StudentResult", "ReturnEstimate", "Estimate"),
    "Outputs scored, compared and judged": (
        "evaluate",
        "Evaluation",
        "Score",
        "compare",
        "CompareResult",
        "Comparison",
        "judge",
        "JudgeResult",
        "Preference",
    ),
}
INTRODUCTION = """# API

What `import ketchup` shows is public and stays as it is between minor versions; all else may change. Names are loaded
when they are first used: `credit` and `k_step_returns` need torch alone, the tables not even that. This page is
written by `scripts/api_page.py` from the docstrings.

Axes: B inputs, N samples of each, R = B x N rollouts (those of an input are neighbours), T actions of a rollout, V
vocabulary. Errors are one sentence, and of the classes in `ketchup.errors`, each a `KetchupError`. An option that an
error names as the command line does, `--max-new-tokens`, is the parameter `max_new_tokens`. Each example runs as it
stands, offline, after `import ketchup, torch`; `url` and `model` stand for a server of one's own.
"""


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    for part, names in PARTS.items():
        lines.append(f"## {part}\n")
        lines += [text for name in names for text in entry(name, getattr(ketchup, name))]
    about = "more engines come from plug-ins, and those of vLLM run on N GPUs with `:tpN`"
    lines.append(f"## Words\n\nThat an option of such a type takes; {about}.\n")
    lines += [f"* `{name}`: {', '.join(f'`{word}`' for word in words)}" for name, words in sorted(vocabularies())]
    return "\n".join(lines) + "\n"


def vocabularies() -> set[tuple[str, tuple[str, ...]]]:
    """The types of options that are lists of words, and these words."""
    functions = [shown for shown in map(partial(getattr, ketchup), ketchup.__all__) if inspect.isfunction(shown)]
    functions.append(ketchup.VarianceResult.frame)
    return {("EngineName", READY_ENGINES)} | {
        (name, get_args(known))
        for function in functions
        for annotation in inspect.get_annotations(inspect.unwrap(function)).values()
        for name, known in inspect.unwrap(function).__globals__.items()
        if get_origin(known) is Literal and known in (annotation, *get_args(annotation))
    }


def entry(name: str, shown: Any) -> Iterator[str]:
    """The texts of one name: a function, a class or a table."""
    yield f"### {name}\n"
    if isinstance(shown, Mapping):
        yield from table(name, shown)
        return
    if inspect.isfunction(shown):
        yield f"```python\n{signature(name, shown)}\n```\n"
        yield markdown(inspect.getdoc(shown))
        return
    yield markdown(inspect.getdoc(shown))
    listed = list(members(shown))
    if listed:
        yield "\n".join(listed) + "\n"


def signature(name: str, function: Any) -> str:
    """How it is called, with the types as they are written and the values of defaults, a parameter a line."""
    (written,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body
    types = {one.arg: ast.unparse(one.annotation) for one in (*written.args.args, *written.args.kwonlyargs)}
    shown, named = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not named:
            named = True
            shown.append("*")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        shown.append(f"{parameter.name}: {types[parameter.name]}{default}")
    return f"ketchup.{name}(\n    " + ",\n    ".join(shown) + f",\n) -> {ast.unparse(written.returns)}"


def members(shown: type) -> Iterator[str]:
    """Fields, properties and methods of a class, a line each."""
    (written,) = ast.parse(inspect.getsource(shown)).body
    body = written.body
    names = {field.name for field in fields(shown)} if is_dataclass(shown) else set(getattr(shown, "_fields", ()))
    for place, node in enumerate(body):
        after = body[place + 1] if place + 1 < len(body) else None
        if isinstance(node, ast.AnnAssign) and node.target.id in names:
            said = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                said = ": " + " ".join(inspect.cleandoc(after.value.value).split())
            yield f"* `{node.target.id}: {ast.unparse(node.annotation)}`{said}"
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            is_property = any(ast.unparse(one) == "property" for one in node.decorator_list)
            arguments = ast.unparse(node.args).removeprefix("self").removeprefix(", ")
            called = node.name if is_property else f"{node.name}({arguments})"
            yield f"* `{called}`: {' '.join(ast.get_docstring(node).split())}"


def table(name: str, rows: Mapping[str, Any]) -> Iterator[str]:
    """The rows of a table of the package."""
    module = "estimators" if name == "ESTIMATORS" else "baselines"
    yield f"What `{name.lower()[:-1]}=` may name: more on each in [estimators.md](estimators.md#{module}).\n"
    yield "| row | formula |\n|---|---|"
    for key, row in rows.items():
        named = " ".join(f"`{example}`" for example in getattr(row, "examples", (key,)))
        formula = row.formula.replace("|", "\\|")
        yield f"| {named} | {formula} |"
    yield ""


def markdown(docstring: str) -> str:
    """A docstring as it is, but for its example, which becomes a block of Python."""
    return re.sub(r"^Example:\n\n((?:    .*\n|\n)+)", _fenced, docstring + "\n", flags=re.MULTILINE)


def _fenced(found: re.Match[str]) -> str:
    return f"```python\n{textwrap.dedent(found[1]).strip()}\n```\n\n"


if __name__ == "__main__":
    atomic_write_text(PAGE, page())
