"""What users get wrong, and disks: one sentence that names it, the right exit code, no traceback."""

import errno
import json
import os
import shutil

import pytest
from typer.testing import CliRunner

from ketchup.files import run_lock
from ketchup_eval.cli import app
from ketchup_eval.variance import sealed
from tests import tiny
from tests.commands import ketchup, write_data

COMMANDS = ("variance", "train")
SPLIT = {"variance": "test", "train": "train"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Data, a teacher, a student and models that do not fit."""
    folder = tmp_path_factory.mktemp("inputs")
    write_data(folder / "data", train=8, validation=2, test=20)
    tiny.save("t5", folder / "teacher", seed=1)
    tiny.save("t5", folder / "student", seed=2)
    tiny.save("t5", folder / "other-words", words=("a", "b", "d", "c"))
    shutil.copytree(folder / "student", folder / "other-eos")
    change_json(folder / "other-eos/tokenizer_config.json", eos_token="d")
    change_json(folder / "other-eos/config.json", eos_token_id=5)
    shutil.copytree(folder / "student", folder / "two-ends")
    change_json(folder / "two-ends/config.json", eos_token_id=5)
    shutil.copytree(folder / "student", folder / "no-weights")
    (folder / "no-weights/model.safetensors").unlink()
    return folder


def change_json(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def invoke(folder, inputs, command, **options):
    """The command with an option changed, or left out by `None`."""
    given = {"student": inputs / "student", "teacher": inputs / "teacher", "task": "gsm8k", "data": inputs / "data"}
    given |= {"runs_dir": folder / "runs", "threads": 1, "max_new_tokens": 6}
    given |= {"variance": {}, "train": {"steps": 2}}[command]
    given |= options
    words = [command, *(["seqkd"] if command == "train" else [])]
    words[1:] = [given.pop("method")] if "method" in given else words[1:]
    for name, value in given.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    return CliRunner().invoke(app, words)


def assert_one_sentence(result, code, *named):
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert "Unexpected" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    for text in named:
        assert str(text) in line
    assert result.stderr.splitlines()[-1] == line
    assert result.stdout == ""


def rows_with(folder, split, line):
    """The data with its third line replaced."""
    write_data(folder, train=4, validation=2, test=4)
    file = folder / f"{split}.jsonl"
    lines = file.read_text().splitlines()
    lines[2] = line
    file.write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_is_missing(tmp_path, inputs, command):
    result = invoke(tmp_path, inputs, command, data=tmp_path / "nowhere")
    assert_one_sentence(result, 1, tmp_path / "nowhere", "is not a folder")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('{"question": "ab", "answer": "c"', "no JSON object"),
        ('{"question": "ab"}', 'the field "answer" is missing'),
        ('{"answer": "ab", "question": ""}', 'the field "question" is empty'),
        ("[1, 2]", "no JSON object"),
        ("", "no JSON object"),
    ],
)
def test_a_line_that_is_no_row(tmp_path, inputs, command, line, named):
    data = rows_with(tmp_path / "data", SPLIT[command], line)
    result = invoke(tmp_path, inputs, command, data=data)
    assert_one_sentence(result, 1, f"{data / SPLIT[command]}.jsonl:3: ", named)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_an_id_that_comes_twice(tmp_path, inputs, command):
    file = tmp_path / f"{SPLIT[command]}.jsonl"
    file.write_text('{"id": "7", "document": "ab", "summary": "c"}\n' * 2)
    result = invoke(tmp_path, inputs, command, data=tmp_path, task="xsum")
    assert_one_sentence(result, 1, f"{file}:2", 'the id "7"', f"{file}:1")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_empty(tmp_path, inputs, command):
    file = tmp_path / f"{SPLIT[command]}.jsonl"
    file.touch()
    assert_one_sentence(invoke(tmp_path, inputs, command, data=tmp_path), 1, file, "is empty")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_is_missing(tmp_path, inputs, command):
    result = invoke(tmp_path, inputs, command, data=tmp_path)
    assert_one_sentence(result, 1, f"{tmp_path / SPLIT[command]}.jsonl", "is missing")


@pytest.mark.parametrize(
    ("command", "options", "named"),
    [
        ("variance", {"k": 0}, "--k must be at least 1"),
        ("variance", {"k": [1, 2, -4]}, "--k must be at least 1"),
        ("variance", {"samples": 1}, "--samples must be at least 2"),
        ("variance", {"limit": 0}, "limit"),
        ("variance", {"max_new_tokens": 0}, "--max-new-tokens must be at least 1"),
        ("variance", {"temperature": -1}, "--temperature"),
        ("variance", {"threads": 0}, "--threads"),
        ("variance", {"prompt_style": "chat"}, "prompt"),
        ("variance", {"top_k": 7}, "--top-k must be at most the 6 tokens of"),
        ("train", {"limit": 0}, "limit"),
        ("train", {"method": "llmr", "top_k": 7}, "--top-k must be at most the 6 tokens of"),
        ("train", {"max_new_tokens": 0}, "--max-new-tokens"),
        ("train", {"steps": 0}, "--steps"),
        ("train", {"batch_size": 0}, "--batch-size"),
        ("train", {"lr": -1}, "--learning-rate"),
        ("train", {"method": "alchemy"}, "alchemy"),
        ("train", {"teacher": None}, "--teacher"),
        ("train", {"method": "sft"}, "--teacher"),
    ],
)
def test_a_value_that_can_never_work(tmp_path, inputs, command, options, named):
    assert_one_sentence(invoke(tmp_path, inputs, command, **options), 2, named)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_task_that_is_unknown(tmp_path, inputs, command):
    result = invoke(tmp_path, inputs, command, task="poetry")
    assert_one_sentence(result, 2, "poetry", "gsm8k")


def test_a_student_without_its_teacher(tmp_path, inputs):
    assert_one_sentence(invoke(tmp_path, inputs, "variance", teacher=None), 2, "--teacher", "--student")
    assert_one_sentence(invoke(tmp_path, inputs, "variance", student=None), 2, "--teacher", "--student")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("nowhere", "nowhere"),
        ("no-weights", "no-weights"),
        ("two-ends", "eos"),
        ("other-words", "differ in 2 tokens"),
        ("other-eos", "ends with token"),
    ],
)
def test_a_model_that_does_not_fit(tmp_path, inputs, command, role, name, named):
    assert_one_sentence(invoke(tmp_path, inputs, command, **{role: inputs / name}), 1, named)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_model_that_nobody_knows(tmp_path, inputs, command):
    result = invoke(tmp_path, inputs, command, student="nobody/knows-this-model")
    assert_one_sentence(result, 1, "nobody/knows-this-model")


def test_a_full_disk_keeps_the_parts_that_are_whole(tmp_path, inputs, monkeypatch):
    write_table, calls = sealed.pq.write_table, []

    def full_at_the_second(table, path, **options):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"PAR1 half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_table(table, path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(sealed.pq, "write_table", full_at_the_second)
        result = invoke(tmp_path, inputs, "variance")
    folder = tmp_path / "runs/variance-gsm8k/rollouts/1-student"
    assert_one_sentence(result, 1, "The disk is full", folder / "part-00001.parquet")
    assert [path.name for path in folder.iterdir()] == ["part-00000.parquet"]
    written = (folder / "part-00000.parquet").stat().st_mtime_ns
    assert invoke(tmp_path, inputs, "variance").exit_code == 0
    assert (folder / "part-00000.parquet").stat().st_mtime_ns == written
    assert len(list(folder.iterdir())) == 3


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, inputs, monkeypatch):
    import torch

    save, calls = torch.save, []

    def full_at_the_second(content, path):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(content, path)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full_at_the_second)
        result = invoke(tmp_path, inputs, "train", save_every=1)
    run = tmp_path / "runs/seqkd-gsm8k"
    assert_one_sentence(result, 1, "The disk is full", run / "checkpoints/step-000002")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000001"]
    assert (run / "last").resolve().name == "step-000001"
    assert invoke(tmp_path, inputs, "train", save_every=1).exit_code == 0
    assert (run / "last").resolve().name == "step-000002"


@pytest.mark.parametrize(
    ("command", "option", "named"),
    [
        ("variance", {"seed": 5}, "seed was 0 and is now 5"),
        ("variance", {"samples": 8}, "samples was 32 and is now 8"),
        ("variance", {"temperature": 0.5}, "decoding.temperature was 1.0 and is now 0.5"),
        ("train", {"lr": 0.5}, "learning_rate was 3e-05 and is now 0.5"),
    ],
)
def test_other_settings_in_a_run_that_exists(tmp_path, inputs, command, option, named):
    small = {"limit": 8} if command == "variance" else {"steps": 1}
    assert invoke(tmp_path, inputs, command, **small, name="one").exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    result = invoke(tmp_path, inputs, command, **{**small, **option}, name="one")
    assert_one_sentence(result, 1, tmp_path / "runs/one", named, "--name")
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs/one").rglob("*") if path.is_file()}
    assert {path: time for path, time in after.items() if path.name != ".lock"}.items() <= before.items()


@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_does_not_go_on_with_a_model_that_was_edited(tmp_path, inputs, command, role):
    model = shutil.copytree(inputs / role, tmp_path / role)
    given = {"limit": 4, "method": "llmr"} if command == "train" else {"limit": 4}
    assert invoke(tmp_path, inputs, command, **given, **{role: model}).exit_code == 0
    (model / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert_one_sentence(invoke(tmp_path, inputs, command, **given, **{role: model}), 1, "with other settings", role)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_in_use_by_another_process(tmp_path, inputs, command):
    words = ["--student", inputs / "student", "--task", "gsm8k", "--data", inputs / "data", "--threads", 1]
    words = [command, *(["sft"] if command == "train" else ["--teacher", inputs / "teacher"]), *words, "--name", "one"]
    with run_lock(tmp_path / "runs/one"):
        result = ketchup(tmp_path, *words)
    assert result.code == 1
    (line,) = result.stderr.splitlines()
    assert f"runs/one is in use by process {os.getpid()}" in line


def test_a_folder_that_may_not_be_written(tmp_path, inputs):
    (tmp_path / "runs").write_text("a file where the folder should be")
    assert_one_sentence(invoke(tmp_path, inputs, "variance"), 1, "cannot be written")


def test_a_part_that_is_damaged_is_named(tmp_path, inputs):
    assert invoke(tmp_path, inputs, "variance", limit=8).exit_code == 0
    part = tmp_path / "runs/variance-gsm8k/rollouts/1-student/part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    assert_one_sentence(invoke(tmp_path, inputs, "variance", limit=8), 1, part, "damaged")


def test_rollouts_that_lost_their_manifest_are_not_taken_for_others(tmp_path, inputs):
    assert invoke(tmp_path, inputs, "variance", limit=8).exit_code == 0
    (tmp_path / "runs/variance-gsm8k/manifest.json").unlink()
    result = invoke(tmp_path, inputs, "variance", limit=8, temperature=0.5)
    assert_one_sentence(result, 1, "has rollouts/1-student/part-00000.parquet but lost its manifest.json", "--name")


# Training


def train(folder, inputs, method, *words):
    given = ["train", method, "--task", "gsm8k", "--student", inputs / "student", "--data", inputs / "data"]
    given += ["--runs-dir", folder / "runs", "--steps", 2, "--max-new-tokens", 6, "--threads", 1, *words]
    return CliRunner().invoke(app, [str(word) for word in given])


@pytest.mark.parametrize(
    ("method", "words", "named"),
    [
        ("kill", [], "no method 'kill'"),
        ("kl", ["--k", 4], "--k is an option of ketchup, not of kl"),
        ("tvd", ["--baseline", "mean"], "--baseline is an option of llmr, ketchup, reinforce, not of tvd"),
        ("ketchup", [], "needs --k"),
        ("llmr", ["--lora", -1], "--lora must be at least 0, the rank"),
        (
            "llmr",
            ["--temperature", -1],
            "--temperature must be a finite number from 0.01 to 100, or 0 (greedy), not -1",
        ),
        ("llmr", ["--track", "paper"], "--track knows tensorboard, wandb, trackio, not paper"),
        ("llmr", ["--preset", "gsm8k"], "no preset 'gsm8k'"),
        ("sft", [], "takes no --teacher"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, inputs, method, words, named):
    result = train(tmp_path, inputs, method, "--teacher", inputs / "teacher", *words)
    assert_one_sentence(result, 2, named)


def test_a_method_without_its_teacher(tmp_path, inputs):
    assert_one_sentence(train(tmp_path, inputs, "js"), 2, "name one with --teacher")


def test_a_training_student_of_another_vocabulary(tmp_path, inputs):
    result = train(tmp_path, inputs, "llmr", "--teacher", inputs / "other-words")
    assert_one_sentence(result, 1, "differ in 2 tokens", "same tokenizer")


def test_a_model_larger_than_the_memory(tmp_path, inputs, monkeypatch):
    from ketchup.models import memory

    monkeypatch.setattr(memory, "free_bytes", lambda device: 10_000)
    result = train(tmp_path, inputs, "llmr", "--teacher", inputs / "teacher")
    assert_one_sentence(result, 1, "The model", "GB are free on cpu", "use a smaller model")
    monkeypatch.setattr(memory, "free_bytes", lambda device: 100_000)
    result = train(tmp_path, inputs, "llmr", "--teacher", inputs / "teacher")
    assert_one_sentence(result, 1, "Training", "of 12 bytes", "--lora")


def test_rows_without_references_for_sft(tmp_path, inputs):
    data = shutil.copytree(inputs / "data", tmp_path / "data")
    row = json.dumps({"question": "abc"}) + "\n"
    (data / "train.jsonl").write_text(row)
    words = ["train", "sft", "--task", "gsm8k", "--student", inputs / "student", "--data", data]
    result = CliRunner().invoke(app, [str(word) for word in [*words, "--runs-dir", tmp_path / "runs"]])
    assert_one_sentence(result, 1, "train.jsonl", "answer")
