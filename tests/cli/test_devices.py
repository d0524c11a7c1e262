"""`--device`, `--teacher-dtype`, `--student-dtype`, `--teacher-memory`: what a run makes and remembers of them."""

import json

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from ketchup_eval.cli import app
from tests import tiny
from tests.commands import write_data

COMMANDS = ("variance", "evaluate", "train")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    data = write_data(folder / "data", train=8, validation=2, test=9) / "test.jsonl"
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    data.write_text("".join(json.dumps({**row, "answer": "#### 12"}) + "\n" for row in rows))
    tiny.save("t5", folder / "teacher", seed=1)
    tiny.save("t5", folder / "student", seed=2)
    return folder


def invoke(folder, inputs, command, *more):
    model = {
        "variance": ["--student", inputs / "student", "--samples", 4],
        "evaluate": [inputs / "student", "--metrics", "accuracy"],
        "train": ["ketchup", "--k", 2, "--student", inputs / "student", "--steps", 2, "--save-every", 1],
    }[command]
    given = [command, *model, "--teacher", inputs / "teacher", "--task", "gsm8k", "--data", inputs / "data"]
    given += ["--runs-dir", folder / "runs", "--threads", 1, "--max-new-tokens", 6, *more]
    return CliRunner().invoke(app, [str(word) for word in given])


def manifest(folder, command):
    (found,) = folder.glob({"evaluate": "runs/*/predictions/test/manifest.json"}.get(command, "runs/*/manifest.json"))
    return json.loads(found.read_text())


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for what is not here")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--device", "cuda"), "needs CUDA"),
        (("--device", "cuda:3"), "needs CUDA"),
        (("--device", "tpu"), "--device must be auto, cpu, cuda or cuda:N, not 'tpu'."),
        (("--teacher-memory", "-1"), "--teacher-memory must be a number of GB above 0"),
        (("--teacher-dtype", "int4"), "'int4' is not one of"),
        (("--student-dtype", "double"), "'double' is not one of"),
    ],
)
def test_what_cannot_be_had_is_a_sentence(tmp_path, inputs, command, option, said):
    done = invoke(tmp_path, inputs, command, *option)
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.stderr.replace("│", "").split())
    assert "Traceback" not in done.output
    assert not (tmp_path / "runs").exists()  # nothing was begun


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for what is not here")
@pytest.mark.parametrize("command", COMMANDS)
def test_several_processes_are_not_started_for_nothing(tmp_path, inputs, command):
    done = invoke(tmp_path, inputs, command, "--device", "cuda", "--processes", 2)
    assert done.exit_code == 2
    assert "needs CUDA" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_types_are_a_runs_own_and_its_device_is_not(tmp_path, inputs, command):
    """Numbers follow from the types: a run does not go on with others."""
    narrow = ("--teacher-dtype", "bfloat16", "--student-dtype", "bfloat16")
    done = invoke(tmp_path, inputs, command, *narrow)
    assert done.exit_code == 0, done.output
    recorded = manifest(tmp_path, command)
    assert recorded["settings"]["teacher_dtype"] == recorded["settings"]["student_dtype"] == "bfloat16"
    assert "device" not in recorded["settings"]
    assert recorded["devices"] == ["cpu"]
    (engine,) = recorded["engines"].values()
    assert engine.startswith("transformers on cpu (CTranslate2 does not support")
    assert invoke(tmp_path, inputs, command, *narrow, "--device", "cpu").exit_code == 0
    other = invoke(tmp_path, inputs, command, *narrow[:2])
    assert other.exit_code == 1
    assert 'student_dtype was "bfloat16" and is now "float32"' in other.stderr


def test_auto_is_recorded_as_what_it_came_to(tmp_path, inputs):
    done = invoke(tmp_path, inputs, "train")
    assert done.exit_code == 0, done.output
    settings = manifest(tmp_path, "train")["settings"]
    wide = "bfloat16" if torch.cuda.is_available() else "float32"
    assert settings["teacher_dtype"] == settings["precision"] == wide
    assert settings["student_dtype"] == "float32"


def test_a_student_in_bfloat16_is_sampled_by_what_can(tmp_path, inputs):
    """CTranslate2 is handed float32 only; teacher values in bfloat16 are near those in float32 and not the same."""
    values = {}
    for dtype in ("float32", "bfloat16"):
        done = invoke(tmp_path / dtype, inputs, "variance", "--teacher-dtype", dtype)
        assert done.exit_code == 0, done.output
        rows = pq.read_table(next((tmp_path / dtype).rglob("part-*.parquet"))).to_pylist()
        values[dtype] = torch.tensor([number for row in rows for number in row["logsumexp"]])
    gap = (values["float32"] - values["bfloat16"]).abs()
    assert 1e-5 < gap.max() < 0.1  # 8 bits of logits of a few nats


def test_a_spread_teacher_scores_the_same_bytes(tmp_path, inputs, caplog):
    """Where weights wait between passes changes no number, so that neither run knows of it."""
    size = sum(weight.numel() * 4 for weight in tiny.network("t5", 6).parameters())
    found = {}
    for name, more in {"whole": (), "spread": ("--teacher-memory", size / 2 / 1e9)}.items():
        done = invoke(tmp_path / name, inputs, "variance", *more)
        assert done.exit_code == 0, done.output
        found[name] = {file.name: file.read_bytes() for file in (tmp_path / name).rglob("part-*.parquet")}
        assert ("what waits in a folder is fetched in each pass" in caplog.text) == (name == "spread")
    assert found["whole"] == found["spread"]
    assert found["whole"]


@pytest.mark.parametrize("method", ["ketchup", "seqkd"])
def test_training_under_a_spread_teacher_ends_in_the_same_weights(tmp_path, inputs, method):
    size = sum(weight.numel() * 4 for weight in tiny.network("t5", 6).parameters())
    ends = []
    for name, more in {"whole": (), "spread": ("--teacher-memory", size / 2 / 1e9)}.items():
        done = CliRunner().invoke(
            app,
            [
                *(
                    "train",
                    method,
                    *(["--k", "2"] if method == "ketchup" else []),
                    "--student",
                    str(inputs / "student"),
                    "--teacher",
                    str(inputs / "teacher"),
                ),
                *("--task", "gsm8k", "--data", str(inputs / "data"), "--steps", "2", "--max-new-tokens", "6"),
                *("--threads", "1", "--engine", "transformers", "--runs-dir", str(tmp_path / name), *map(str, more)),
            ],
        )
        assert done.exit_code == 0, done.output
        ends.append(load_file(tmp_path / name / f"{method}-gsm8k/last/model.safetensors"))
    assert all(torch.equal(ends[0][weight], ends[1][weight]) for weight in ends[0])


def test_float16_is_not_trained_in(tmp_path, inputs):
    done = invoke(tmp_path, inputs, "train", "--student-dtype", "float16")
    assert done.exit_code == 2
    assert "--student-dtype float16 cannot be trained" in done.stderr


def test_a_new_student_has_the_type_that_was_asked_for(tmp_path, inputs):
    out = tmp_path / "student"
    words = ["init-student", "--teacher", str(inputs / "teacher"), "--layers", "1", "--out", str(out)]
    done = CliRunner().invoke(app, [*words, "--student-dtype", "bfloat16"])
    assert done.exit_code == 0, done.output
    assert {weight.dtype for weight in load_file(out / "model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((out / "manifest.json").read_text())["settings"]["dtype"] == "bfloat16"
