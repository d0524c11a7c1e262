"""Every number that an option takes is checked, in every command, before anything is loaded or written."""

import math
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from typer.testing import CliRunner

from ketchup.methods import options
from ketchup_eval.cli.program import COMMANDS, app

NOTHING = "no-such-thing"
WORDS = {
    "variance": ["--teacher", NOTHING, "--student", NOTHING],
    "train": ["ketchup", "--student", NOTHING, "--teacher", NOTHING],
    "evaluate": [NOTHING],
    "study": [Path(__file__).parents[2] / "plans/demo.toml"],
    "compare": ["--a", NOTHING, "--b", "nothing-else"],
    "judge": ["--a", NOTHING, "--b", "nothing-else", "--task", "demo"],
    "init-student": ["--teacher", NOTHING],
    "report": [NOTHING],
    "doctor": ["--judge"],
}
"""A command that would fail for want of a model or a run, had an option not been refused before."""
REQUIRED = {"train": {"--k": 2}, "init-student": {"--layers": 1}}


def numeric():
    """Command, option and type of every option that takes a number."""
    for function in COMMANDS:
        for name, hint in get_type_hints(function, include_extras=True).items():
            kinds = {int, float} & set(parts(hint))
            if kinds:
                option = hint.__metadata__[0]
                names = [word for word in (option.default, *(option.param_decls or ())) if str(word).startswith("--")]
                yield function.__name__.replace("_", "-"), (names or [f"--{name.replace('_', '-')}"])[0], kinds.pop()
    for name, option in options().items():
        if option.kind in (int, float):
            yield "train", f"--{name.replace('_', '-')}", option.kind


def parts(hint):
    """The types that a hint such as `Annotated[list[int] | None, ...]` is made of."""
    yield hint
    for inner in get_args(hint):
        yield from parts(inner)


def method_with(option):
    """The method above where it has the option of training, or where it is none of a method; else one that has it."""
    found = options().get(option.removeprefix("--").replace("-", "_"))
    return "ketchup" if found is None or "ketchup" in found.defaults else next(iter(found.defaults))


NUMERIC = list(numeric())
FLOATS = [(command, option) for command, option, kind in NUMERIC if kind is float]
INTEGERS = [(command, option) for command, option, kind in NUMERIC if kind is int]


def run(folder, command, option, *values):
    words = [*WORDS[command], *(["--out", folder / "out"] if command == "init-student" else [])]
    given = dict(REQUIRED.get(command, {}))
    if command == "train" and (method := method_with(option)) != "ketchup":
        words[0], given = method, {}
    given.pop(option, None)
    words += [word for pair in given.items() for word in pair] + [option, *values]
    if command not in ("init-student", "doctor"):
        words += ["--runs-dir", folder / "runs"]
    return CliRunner().invoke(app, [command, *map(str, words)])


def assert_refused(folder, command, option, value, *words):
    result = run(folder, command, option, value)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {option}"), line
    assert line.endswith("."), line
    for word in words:
        assert word in line
    assert not list(folder.iterdir())


def test_the_lists_are_not_empty():
    assert len(FLOATS) >= 12
    assert len(INTEGERS) >= 40


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1"])
@pytest.mark.parametrize(("command", "option"), FLOATS)
def test_numbers_that_are_none_are_refused(tmp_path, command, option, value):
    assert_refused(tmp_path, command, option, value, value)


@pytest.mark.parametrize("value", ["-1", "99999999999999999999999"])
@pytest.mark.parametrize(("command", "option"), INTEGERS)
def test_counts_below_and_beyond_all_use_are_refused(tmp_path, command, option, value):
    assert_refused(tmp_path, command, option, value, value)


MAY_BE_ZERO = {"--seed", "--top-k", "--lora", "--warmup-steps", "--repeat-check", "--drop"}
"""Whose 0 is a choice that `--help` names."""


@pytest.mark.parametrize(("command", "option"), [row for row in INTEGERS if row[1] not in MAY_BE_ZERO])
def test_zero_of_something_is_refused(tmp_path, command, option):
    assert_refused(tmp_path, command, option, 0, "at least", "not 0")


@pytest.mark.parametrize(
    ("command", "option", "value", "words"),
    [
        ("variance", "--samples", 1, "no variance"),
        ("variance", "--temperature", 0, "draws the same rollout"),
        ("variance", "--top-k", 1, "draws the same rollout"),
        ("variance", "--temperature", 1e-30, "0.01"),
        ("variance", "--temperature", 1e6, "100"),
        ("train", "--top-k", 1, "--temperature 0"),
        ("train", "--learning-rate", 0, "above 0"),
        ("train", "--epochs", 0, "above 0"),
        ("train", "--clip-range", 0, "above 0"),
        ("train", "--beta", 0, "between 0 and 1"),
        ("train", "--beta", 1, "between 0 and 1"),
        ("train", "--student-share", 1.5, "from 0 to 1"),
        ("train", "--weight-decay", 1e6, "--learning-rate"),
        ("train", "--teacher-temperature", 1000, "100"),
        ("judge", "--timeout", 0, "above 0 and at most 86400"),
        ("judge", "--timeout", 1e9, "above 0 and at most 86400"),
        ("judge", "--resamples", 1, "at least 20"),
        ("evaluate", "--resamples", 1, "at least 20"),
        ("compare", "--resamples", 1, "at least 20"),
    ],
)
def test_values_that_would_do_nothing_or_harm(tmp_path, command, option, value, words):
    assert_refused(tmp_path, command, option, value, words)


@pytest.mark.parametrize(
    ("command", "words", "named"),
    [
        ("train", ["--steps", 5, "--epochs", 2], "--steps and --epochs"),
        ("train", ["--clip", "none", "--clip-range", 5], "leave out --clip-range"),
        ("train", ["--teacher-temperature", 1], "leave out --teacher-temperature"),
        ("train", ["--steps", 5, "--warmup-steps", 5], "--warmup-steps must be below the 5 steps"),
        ("train", ["--steps", 5, "--milestones", 3, 6], "--milestones must be within the 5 steps"),
        ("train", ["--temperature", 0, "--samples-per-input", 2], "--temperature 0 draws the same rollout"),
        ("judge", ["--serve-python", "python"], "add --serve MODEL"),
        ("judge", ["--serve-options", "--seed 1"], "add --serve MODEL"),
        ("evaluate", ["--predictions", NOTHING, "--max-new-tokens", 5], "leave out --max-new-tokens"),
        ("evaluate", ["--predictions", NOTHING, "--teacher", NOTHING], "leave out --teacher"),
        ("evaluate", ["--predictions", NOTHING, "--prompt-style", "chat"], "leave out --prompt-style"),
    ],
)
def test_options_of_which_one_would_be_ignored(tmp_path, command, words, named):
    before = [] if "--predictions" in words else WORDS[command]
    given = [*before, *(["--k", 2] if command == "train" else []), *words, "--runs-dir", tmp_path / "runs"]
    result = CliRunner().invoke(app, [command, *map(str, given)])
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert not list(tmp_path.iterdir())


def test_bounds_are_those_of_the_rules():
    """Rules let through what they name, so that none is refused by mistake."""
    from ketchup import checks

    checks.whole("--k", checks.LONGEST, most=checks.LONGEST)
    checks.whole("--limit", None)
    checks.temperature("--temperature", 0)
    checks.temperature("--temperature", checks.COLDEST)
    checks.seed("--seed", 2**32 - 1)
    checks.resamples("--resamples", 20)
    checks.finite("--x", 0.0, least=0)
    for value in (True, 1.5, "3", math.inf):
        with pytest.raises(Exception, match="--x must be"):
            checks.whole("--x", value)
