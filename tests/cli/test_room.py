"""Every command makes sure, before it does anything, that all its models can read prompts and outputs."""

import json

import pytest
from typer.testing import CliRunner

from ketchup_eval.cli import app
from tests import tiny
from tests.commands import write_data


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Data whose prompts have some 200 tokens; a model that reads 280 tokens, and one that reads 8."""
    folder = tmp_path_factory.mktemp("inputs")
    write_data(folder / "data", train=4, validation=2)
    (folder / "data/test.jsonl").write_text(json.dumps({"question": "abc", "answer": "#### 12"}) + "\n")
    for seed, (name, most) in enumerate({"long": 280, "short": 8}.items()):
        config = tiny.save("llama", folder / name, seed=seed) / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": most}))
    return folder


def invoke(folder, inputs, words, teacher, student, new=6):
    given = [*words, "--task", "gsm8k", "--data", inputs / "data", "--max-new-tokens", new, "--threads", 1]
    given += ["--teacher", inputs / teacher] if teacher else []
    given += ["--student", inputs / student] if words[0] != "evaluate" else []
    return CliRunner().invoke(app, [str(word) for word in [*given, "--runs-dir", folder / "runs", "--name", "run"]])


COMMANDS = {
    "variance": ["variance", "--samples", 2],
    "evaluate": ["evaluate", "STUDENT"],
    "llmr": ["train", "llmr", "--steps", 1],
    "seqkd": ["train", "seqkd", "--steps", 1],
    "tvd": ["train", "tvd", "--steps", 1],
}


def words_of(command, student):
    return [student if word == "STUDENT" else word for word in COMMANDS[command]]


@pytest.mark.parametrize("reads_less", ["teacher", "student"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_model_that_reads_less_is_refused_before_any_work(tmp_path, inputs, command, reads_less):
    models = {"teacher": "long", "student": "long", reads_less: "short"}
    words = words_of(command, inputs / models["student"])
    result = invoke(tmp_path, inputs, words, **models)
    assert result.exit_code == 1, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert f"{inputs / 'short'}' reads 8 at most" in line
    assert not list((tmp_path / "runs").rglob("*.json*"))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_room_is_that_of_the_option_and_not_of_the_task(tmp_path, inputs, command):
    """GSM8K's own 300 tokens would not fit into these models."""
    words = words_of(command, inputs / "long")
    result = invoke(tmp_path, inputs, words, "long", "long")
    assert result.exit_code == 0, result.output
    result = invoke(tmp_path / "other", inputs, words, "long", "long", new=270)
    assert result.exit_code == 1
    assert "leaves no room for 270 more" in result.stderr
    assert "lower --max-new-tokens to" in result.stderr
