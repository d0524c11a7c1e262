"""The README against the code: its commands parse, its paths exist, its functions import."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import typer

from ketchup_eval.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAM = typer.main.get_command(app)

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = ("sh", "bash", "console")
CODE = "\n".join(body for language, body in FENCE.findall(README) if language in SHELL)
PROSE = FENCE.sub("", README)
BACKTICKED = re.findall(r"`([^`\n]+)`", PROSE)


def ketchup_commands(code):
    """The arguments of every `ketchup ...` in shell code, however the program is reached."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        operators = [place for place, word in enumerate(words) if word in ("&&", "||", "|", ";", ">", "&")]
        for start, end in zip([-1, *operators], [*operators, len(words)], strict=True):
            part = words[start + 1 : end]
            while part and re.fullmatch(r"[A-Z_]+=.*", part[0]):
                part = part[1:]
            if part and Path(part[0]).name == "ketchup":
                yield part[1:]
            elif "ketchup_eval.cli" in part:
                yield part[part.index("ketchup_eval.cli") + 1 :]


def options_of(command):
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def dashed(words):
    return {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}


def mapped_paths():
    """What the file map lists: the first word of each line of a block whose lines start with `ketchup/` somewhere.

    An indented entry is inside the last entry that ends with a slash and is indented less; `<x>` is any name.
    """
    for language, body in FENCE.findall(README):
        if language in SHELL or not re.search(r"^ketchup/", body, re.MULTILINE):
            continue
        parents: list[tuple[int, str]] = []
        for line in filter(str.strip, re.sub(r"<[^>\n]+>", "*", body).splitlines()):
            indent = len(line) - len(line.lstrip(" │├└─"))
            parents = [(depth, path) for depth, path in parents if depth < indent]
            for entry in re.split(r"\s{2,}", line[indent:])[0].split(", "):
                if not re.search(r"[./]", entry) or " " in entry:
                    continue
                path = "".join(part for _, part in parents[-1:]) + entry
                yield path
            if line[indent:].split()[0].endswith("/"):
                parents.append((indent, path))


COMMANDS = list(ketchup_commands(CODE))
PATHS = sorted(set(mapped_paths()))
FUNCTIONS = sorted({name for name in BACKTICKED if re.fullmatch(r"ketchup(_eval)?(\.\w+)+", name)})
TESTS = sorted(set(re.findall(r"tests/[\w/]+\.py(?:::\w+)?", README)))


def test_the_tables_below_are_not_empty():
    """A README whose form has changed must not pass for want of cases."""
    assert COMMANDS
    assert PATHS
    assert FUNCTIONS
    assert TESTS


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_and_each_of_its_options_exist(words):
    inner = next((place for place, word in enumerate(words) if not word.startswith("-")), len(words))
    assert dashed(words[:inner]) <= options_of(PROGRAM)
    if inner < len(words):
        assert words[inner] in PROGRAM.commands
        assert dashed(words[inner + 1 :]) <= options_of(PROGRAM.commands[words[inner]])


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_every_command_is_mentioned(name):
    assert re.search(rf"\bketchup {name}\b|`{name}`", README)


@pytest.mark.parametrize("path", PATHS)
def test_an_entry_of_the_file_map_exists(path):
    assert list(ROOT.glob(path.rstrip("/")))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_named_function_or_module_imports(name):
    try:
        import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute)


@pytest.mark.parametrize("name", TESTS)
def test_a_named_test_exists(name):
    path, _, function = name.partition("::")
    assert (ROOT / path).is_file()
    assert not function or f"def {function}(" in (ROOT / path).read_text(encoding="utf-8")
