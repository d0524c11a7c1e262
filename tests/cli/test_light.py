"""What is said without work - every help, and what is wrong with a command - is said without torch, at once."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "datasets", "matplotlib"}
STUDENT = ["--student", "demo-student-1"]

REFUSED = {
    "train nonsense --student demo-student-1": "There is no method 'nonsense'; use one of sft, seqkd",
    "train kl": "Name the model to train with --student.",
    "train kl --student demo-student-1 --k 3": "--k is an option of ketchup, not of kl",
    "train kl --student demo-student-1 --steps 0": "--steps must be at least 1",
    "train gkd --student demo-student-1 --beta 2": "--beta must be between 0 and 1",
    "train ketchup --student demo-student-1": "The method ketchup needs --k.",
    "train reinforce --student demo-student-1 --estimator foo": "There is no estimator 'foo'",
    "train llmr --student demo-student-1 --baseline foo": "There is no baseline 'foo'",
    "train kl --student demo-student-1 --select foo": '--select knows no "foo"',
    "train kl --student demo-student-1 --teacher-memory 0": "--teacher-memory must be a number of GB above 0",
    "variance --k 0": "--k must be at least 1",
    "variance --estimator k-step:0": "The K of k-step must be at least 1",
    "variance --engine foo": "--engine is 'foo': use one of auto, ctranslate2",
    "train kl --student demo-student-1 --engine foo": "--engine is 'foo': use one of auto",
    "variance --samples 1": "--samples must be at least 2",
    "variance --gradient --estimator all-action": "--gradient weighs actions",
    "variance --task foo": 'there is no task "foo"',
    "variance --nonsense": "No such option",
    "evaluate": "Name one or more runs to evaluate",
    "study nowhere.toml": "nowhere.toml cannot be read",
    "doctor": "Say what to check",
}
"""Commands that can be refused by their words alone, and what they are told."""


def said(commands):
    """The exit code and output of each command, and which heavy modules the process has then, all in one process."""
    script = """
import json, sys
from typer.testing import CliRunner
from ketchup_eval.cli.program import app

found = []
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, words)
    found.append([done.exit_code, done.output, sorted(set(json.loads(sys.argv[2])) & sys.modules.keys())])
print(json.dumps(found))
"""
    given = [json.dumps(commands), json.dumps(sorted(HEAVY))]
    wide = os.environ | {"TERMINAL_WIDTH": "400", "COLUMNS": "400"}
    done = subprocess.run([sys.executable, "-c", script, *given], capture_output=True, text=True, check=True, env=wide)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def helps():
    from ketchup_eval.cli.program import COMMANDS

    names = [function.__name__.replace("_", "-") for function in COMMANDS]
    return dict(zip(["", *names], said([[*filter(None, [name]), "--help"] for name in ["", *names]]), strict=True))


def test_no_help_imports_what_is_heavy(helps):
    assert {name: (code, heavy) for name, (code, _, heavy) in helps.items()} == dict.fromkeys(helps, (0, []))


def test_the_help_of_training_names_every_row(helps):
    """What needs no torch is still read from the tables: nothing is typed a second time for the help."""
    from ketchup.estimators import BASELINES, ESTIMATORS, usage
    from ketchup.methods import METHODS, options

    text = "".join(char for char in helps["train"][1] if char not in " \n│")
    for name in (*METHODS, *map(usage, ESTIMATORS), *BASELINES, *(f"--{name}".replace("_", "-") for name in options())):
        assert name in text


def test_what_is_wrong_with_the_words_of_a_command_is_said_without_torch():
    found = dict(zip(REFUSED, said([command.split() for command in REFUSED]), strict=True))
    for command, (code, output, heavy) in found.items():
        assert " ".join(REFUSED[command].split()) in " ".join(output.replace("│", " ").split()), (command, output)
        assert (code, heavy) == (1 if command.startswith("study") else 2, []), command


def test_a_row_loads_torch_when_it_is_made():
    script = (
        "import sys, ketchup, ketchup.methods; ketchup.ESTIMATORS, ketchup.BASELINES; before = 'torch' in sys.modules; "
        "ketchup.methods.method('kl', {}); print(before, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
