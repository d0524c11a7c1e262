"""Lists separated by spaces, in a small program of the test's own."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from ketchup_eval.cli.many_values import ManyValues, repeat_names

program = typer.Typer()


class Tail(StrEnum):
    SEGMENT = "segment"
    BOOTSTRAP = "bootstrap"


@program.callback()
def several_commands():
    """With one command alone, Typer would not want its name."""


@program.command(cls=ManyValues)
def measure(
    *,
    k: Annotated[list[int], typer.Option("--k", "-k", min=1)] = [1, 2],  # noqa: B006
    at: Annotated[list[float] | None, typer.Option()] = None,
    tail: Annotated[list[Tail] | None, typer.Option()] = None,
    file: Annotated[list[Path] | None, typer.Option()] = None,
    seed: int = 0,
    quiet: bool = False,
):
    names = [[str(item) for item in items or []] for items in (tail, file)]
    typer.echo(f"k={k} at={at} tail={names[0]} file={names[1]} seed={seed} quiet={quiet}")


@program.command(cls=ManyValues)
def fit(method: str, step: Annotated[list[int] | None, typer.Option()] = None):
    typer.echo(f"method={method} step={step}")


def run(*arguments):
    return CliRunner().invoke(program, arguments)


def parsed(line):
    result = run("measure", *line.split())
    assert result.exit_code == 0, result.output
    return dict(part.split("=") for part in result.output.strip().replace(", ", ",").split(" "))


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("", "[1,2]"),
        ("--k 1 2 4 8 16", "[1,2,4,8,16]"),
        ("--k 1 --k 2", "[1,2]"),
        ("--k 1 2 --k 4", "[1,2,4]"),
        ("--k=1 2 4", "[1,2,4]"),
        ("-k 1 2", "[1,2]"),
        ("-k1 2", "[1,2]"),
        ("--k 3", "[3]"),
    ],
)
def test_every_way_to_write_a_list(line, values):
    assert parsed(line)["k"] == values


def test_a_list_ends_at_the_next_option():
    found = parsed("--seed 3 --k 1 2 --at 0.5 1e-3 -2 -.5 --quiet --file a b.txt --tail segment bootstrap")
    assert found == {
        "k": "[1,2]",
        "at": "[0.5,0.001,-2.0,-0.5]",
        "tail": "['segment','bootstrap']",
        "file": "['a','b.txt']",
        "seed": "3",
        "quiet": "True",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2", "unexpected extra argument"),
        ("--seed 3 4", "unexpected extra argument"),
        ("--quiet 4", "unexpected extra argument"),
        ("--k 1 -- 2", "unexpected extra argument"),
        ("--k 1 x", "Invalid value for '--k' / '-k': "),
        ("--k 1 0", "Invalid value for '--k' / '-k': "),
        ("--k", "requires an argument"),
        ("--k 1 --kk 2", "No such option"),
        ("--tail segment other", "'other' is not one of"),
    ],
)
def test_a_wrong_line_is_a_usage_error(line, message):
    result = run("measure", *line.split())
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_positional_arguments_come_first_or_after_dashes():
    assert run("fit", "seqkd", "--step", "1", "2").output == "method=seqkd step=[1, 2]\n"
    assert run("fit", "--step", "1", "2", "--", "seqkd").output == "method=seqkd step=[1, 2]\n"
    assert run("fit", "--step", "1", "2", "seqkd").exit_code == 2


def test_help_is_typers_own():
    result = run("measure", "--help")
    assert result.exit_code == 0
    assert "--k" in result.output


def test_the_first_value_may_look_like_an_option_and_a_dash_is_a_value():
    """As in Typer, what follows the option's name is its value, whatever it looks like."""
    arguments = ["--file", "--k", "-", "x"]
    assert list(repeat_names(arguments, {"--file"})) == ["--file", "--k", "--file", "-", "--file", "x"]


def test_nothing_after_dashes_is_changed():
    arguments = ["--k", "1", "--", "--k", "2", "3"]
    assert list(repeat_names(arguments, {"--k"})) == arguments
