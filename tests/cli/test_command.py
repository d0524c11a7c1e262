"""How a command ends: what it prints and its exit code."""

import errno
import os
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import ketchup
from ketchup.errors import DataError, UsageError
from ketchup_eval.cli import app
from ketchup_eval.cli.command import Command


def program(error):
    """A program whose one command raises `error`."""
    program = typer.Typer()

    @program.callback()
    def options(debug: bool = False):
        pass

    @program.command(cls=Command)
    def work():
        raise error

    return program


def run(error, *options):
    return CliRunner().invoke(program(error), [*options, "work"])


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("rows.jsonl line 3 is empty; remove it."), 1, "Error: rows.jsonl line 3 is empty; remove it."),
        (UsageError("--k is 0; give 1 or more."), 2, "Error: --k is 0; give 1 or more."),
        (
            OSError(errno.ENOSPC, "No space left"),
            1,
            "Error: The disk is full; free some space and run the same command",
        ),
        (RuntimeError("I/O (os error 28)"), 1, "Error: The disk is full; free some space and run the same command"),
        (
            ValueError("odd\nlong"),
            1,
            "Error: Unexpected ValueError (odd); run with --debug for the traceback (`ketchup",
        ),
        (ValueError(), 1, "Error: Unexpected ValueError (no message); run with --debug"),
        (KeyboardInterrupt(), 130, "Interrupted; run the same command again to continue."),
        (typer.Exit(3), 3, ""),
    ],
)
def test_an_error_is_one_line_on_stderr_and_a_code(error, code, message):
    result = run(error)
    assert result.exit_code == code
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == bool(message)
    assert result.stdout == ""


@pytest.mark.parametrize(("error", "code"), [(UsageError("no"), 2), (ValueError("odd"), 1)])
def test_debug_shows_the_traceback_before_the_line(error, code):
    result = run(error, "--debug")
    assert result.exit_code == code
    assert "Traceback" in result.stderr
    assert "in work" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")


def test_a_bad_parameter_found_by_the_command_is_usage():
    assert run(typer.BadParameter("odd")).exit_code == 2


def test_a_closed_pipe_is_quiet():
    result = run(OSError(errno.EPIPE, os.strerror(errno.EPIPE)))
    assert result.exit_code == 1
    assert result.stderr == ""


# The program itself, in a process of its own


def ketchup_command(*arguments):
    command = [sys.executable, "-m", "ketchup_eval.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_version_is_the_packages():
    assert ketchup_command("--version").stdout == f"ketchup {ketchup.__version__}\n"


def test_no_command_shows_the_help():
    done = ketchup_command()
    assert done.returncode == 2
    assert "Usage: ketchup" in done.stdout + done.stderr
    assert "init-student" in done.stdout + done.stderr


def test_an_unknown_command_is_usage():
    done = ketchup_command("ketchap")
    assert done.returncode == 2
    assert "No such command 'ketchap'" in done.stderr


def test_help_imports_nothing_heavy():
    """A user who asks for help should not wait for torch."""
    script = (
        "import sys, ketchup_eval.cli\n"
        "try: ketchup_eval.cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'datasets', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "init-student" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_of_the_app_ends_like_this():
    assert app.registered_commands
    assert all(issubclass(command.cls, Command) for command in app.registered_commands)
