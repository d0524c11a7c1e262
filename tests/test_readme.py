"""The README against the code: it is short, its commands parse, as do those of the other pages, and its paths exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from ketchup_eval.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAM = typer.main.get_command(app)

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = ("sh", "bash", "console")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]


def lines_of(code):
    """The words of each line of shell code; a quotation may span several."""
    begun = ""
    for line in code.replace("\\\n", " ").splitlines():
        begun += line.removeprefix("$ ")
        try:
            yield shlex.split(begun, comments=True)
        except ValueError:
            begun += "\n"
        else:
            begun = ""
    assert not begun


def ketchup_commands(code):
    """The arguments of every `ketchup ...` in shell code, however the program is reached."""
    for words in lines_of(code):
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
    parameters = command.get_params(typer.Context(command))
    return {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def dashed(words):
    return {word.split("=")[0] for word in words if re.fullmatch(r"--?[a-z][^\s=]*(=.*)?", word)}


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


COMMANDS = [
    pytest.param(words, id=f"{page.name}-{' '.join(words)}")
    for page in PAGES
    for language, code in FENCE.findall(page.read_text(encoding="utf-8"))
    if language in SHELL
    for words in ketchup_commands(code)
]
PATHS = sorted(set(mapped_paths()))


def test_the_tables_below_are_not_empty():
    """A README whose form has changed must not pass for want of cases."""
    assert COMMANDS
    assert PATHS


@pytest.mark.parametrize("words", COMMANDS)
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


def test_it_is_short():
    assert len(README.split()) < 900
