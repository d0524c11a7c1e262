"""Files of outputs and references, and the command line on them."""

from pathlib import Path

from typer.testing import CliRunner

from ketchup_eval.cli import app


def plain(texts):
    """Plain lines."""
    return "".join(text + "\n" for text in texts)


def write(name, text):
    """A file exactly as it is given, line ends and all."""
    Path(name).write_bytes(text.encode())


def ketchup(*words):
    """The result of a command."""
    return CliRunner().invoke(app, list(map(str, words)))
