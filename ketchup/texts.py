"""Texts of others - names of runs, models and files, cells of tables - where they are shown: nothing in them acts."""

import re
from pathlib import Path

# Escape sequences and other control characters, but for line feed and tab; separators of lines; what turns the
# direction of writing around; halves of characters, which stand for bytes of a file name that is no UTF-8.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMULA = re.compile("[\\s\ufeff]*[=+@\uff1d\uff0b\uff0d\uff20-]|[\t\r\n]")
_MARKDOWN = re.compile(r"[\\`*_\[\]<>|~&$#!]")
_LATEX = {character: f"\\{character}" for character in "{}_%&#$"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after the end of a row it would begin a length
    "]": "{]}",
    "*": "{*}",
}


def printable(text: str) -> str:
    r"""A text that can change neither the terminal nor the text around it: ESC, for one, is shown as `\x1b`."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """The same on one line, each run of white space one space."""
    return printable(" ".join(text.split()))


def latex_text(text: str) -> str:
    """A text as LaTeX prints it, on one line."""
    escaped = "".join(_LATEX.get(character, character) for character in one_line(text))
    return re.sub("-(?=-)", "-{}", escaped)  # two hyphens would become a dash


def markdown_text(text: str) -> str:
    """A text as Markdown shows it, on one line: no emphasis, link, cell, entity or element."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text))


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula: such a text gets an apostrophe before it. Numbers stay."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if _FORMULA.match(text) else text


def plot_text(text: str) -> str:
    """A text for matplotlib, to which dollar signs are mathematics."""
    return one_line(text).replace("$", r"\$")


def model_label(model: str, between: str = "/") -> str:
    """The last two parts of a path or hub id, with this between: enough to tell checkpoints of runs apart."""
    path = Path(model)
    parts = (path.resolve() if ".." in path.parts or not path.parts else path).parts
    return between.join(part for part in parts[-2:] if part != "/")
