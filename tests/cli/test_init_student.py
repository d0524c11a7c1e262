"""`ketchup init-student` on models made here."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from typer.testing import CliRunner

from ketchup.models import builtin
from ketchup.models.loading import load
from ketchup.tasks import task_named
from ketchup.tasks.rows import load_inputs
from ketchup_eval.cli import app
from tests import tiny


@pytest.fixture(params=tiny.KINDS)
def teacher(request, tmp_path):
    """A teacher of two layers a stack, as a folder."""
    tokenizer = tiny.tokenizer(request.param)
    tiny.network(request.param, len(tokenizer)).save_pretrained(tmp_path / "teacher")
    tokenizer.save_pretrained(tmp_path / "teacher")
    return request.param, tmp_path / "teacher"


def run(*arguments):
    return CliRunner().invoke(app, ["init-student", *map(str, arguments)])


def test_the_student_is_an_ordinary_model_folder(teacher, tmp_path):
    kind, folder = teacher
    out = tmp_path / "new" / "student"
    result = run("--teacher", folder, "--layers", 1, "--out", out)
    assert result.exit_code == 0, result.output
    auto = AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM
    student, original = auto.from_pretrained(out), auto.from_pretrained(folder)
    assert student.num_parameters() < original.num_parameters()
    assert torch.equal(student.get_input_embeddings().weight, original.get_input_embeddings().weight)
    assert AutoTokenizer.from_pretrained(out).get_vocab() == AutoTokenizer.from_pretrained(folder).get_vocab()
    assert result.stdout.splitlines()[0].startswith(f"{out}: 0.0 of 0.0 million parameters")


def test_the_manifest_says_what_was_kept(teacher, tmp_path):
    kind, folder = teacher
    run("--teacher", folder, "--layers", 2, "--out", tmp_path / "student")
    recorded = json.loads((tmp_path / "student" / "manifest.json").read_text())
    assert recorded["settings"] == {"teacher": str(folder), "layers": 2, "decoder_layers": None, "dtype": "float32"}
    fields = ["num_layers", "num_decoder_layers"] if kind == "t5" else ["num_hidden_layers"]
    assert recorded["kept"] == {field: [0, 1] for field in fields}
    assert recorded["versions"]["torch"]


def test_a_students_outputs_end_as_its_teachers_do(teacher, tmp_path):
    settings = {"eos_token_id": [1, 3], "temperature": 0.5}  # without do_sample, which transformers calls invalid
    (teacher[1] / "generation_config.json").write_text(json.dumps(settings))
    result = run("--teacher", teacher[1], "--layers", 1, "--out", tmp_path / "student")
    assert result.exit_code == 0, result.output
    assert load(str(tmp_path / "student")).eos_ids == (1, 3)


def test_a_device_that_is_not_there_is_refused(teacher, tmp_path):
    result = run("--teacher", teacher[1], "--layers", 1, "--out", tmp_path / "student", "--device", "cuda:77")
    assert result.exit_code == 2
    assert "--device cuda:77" in result.output
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize("teacher", ["t5"], indirect=True)
def test_decoder_layers_can_differ(teacher, tmp_path):
    run("--teacher", teacher[1], "--layers", 2, "--decoder-layers", 1, "--out", tmp_path / "student")
    config = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "student").config
    assert (config.num_layers, config.num_decoder_layers) == (2, 1)


def test_the_teacher_is_the_demo_one_unless_named(teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(builtin, "DEMO_FOLDER", tmp_path)
    assert run("--layers", 1, "--out", tmp_path / "student").exit_code == 0
    assert json.loads((tmp_path / "student" / "manifest.json").read_text())["settings"]["teacher"] == "demo-teacher"


def test_a_head_that_is_not_the_embedding_its_config_ties_is_kept(tmp_path):
    """T5 v1.1, FLAN-T5 and mT5 are published so: `shared.weight` and `lm_head.weight` differ."""
    teacher = tmp_path / "teacher"
    tiny.save("t5", teacher)
    weights = load_file(teacher / "model.safetensors")
    weights["lm_head.weight"] = torch.randn(weights["shared.weight"].shape, generator=torch.Generator().manual_seed(1))
    save_file(weights, teacher / "model.safetensors", metadata={"format": "pt"})
    result = run("--teacher", teacher, "--layers", 2, "--out", tmp_path / "student")
    assert result.exit_code == 0, result.output
    prompt, written = torch.tensor([[2, 5, 3, 1]]), torch.tensor([[0, 4, 2]])
    logits = [
        AutoModelForSeq2SeqLM.from_pretrained(folder)(input_ids=prompt, decoder_input_ids=written).logits
        for folder in (teacher, tmp_path / "student")
    ]
    assert torch.equal(*logits)
    saved = load_file(tmp_path / "student" / "model.safetensors")
    assert all(torch.equal(saved[name], weights[name]) for name in ("shared.weight", "lm_head.weight"))


# What is refused, before a model is loaded where that is possible


@pytest.fixture
def out(tmp_path):
    out = tmp_path / "student"
    out.mkdir()
    return out


def test_an_empty_folder_is_filled(teacher, out):
    assert run("--teacher", teacher[1], "--layers", 1, "--out", out).exit_code == 0


def test_a_folder_with_files_is_left_alone(out):
    (out / "thesis.txt").write_text("precious")
    result = run("--teacher", "no-such-model", "--layers", 1, "--out", out)
    assert result.exit_code == 2
    assert f"{out} exists and is not an empty folder; choose another --out" in result.stderr
    assert [file.name for file in out.iterdir()] == ["thesis.txt"]


def test_a_file_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("precious")
    assert run("--teacher", "no-such-model", "--layers", 1, "--out", tmp_path / "file").exit_code == 2


def test_a_number_of_layers_the_teacher_lacks_is_refused(teacher, tmp_path):
    result = run("--teacher", teacher[1], "--layers", 3, "--out", tmp_path / "student")
    assert result.exit_code == 2
    assert result.stderr == "Error: Cannot keep 3 of 2 layers; choose a number from 1 to 2.\n"
    assert not (tmp_path / "student").exists()


def test_an_unknown_teacher_is_one_line(tmp_path):
    result = run("--teacher", str(tmp_path / "none"), "--layers", 1, "--out", tmp_path / "student")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert str(tmp_path / "none") in result.stderr


def test_a_new_model_reads_and_writes_its_tasks_texts(tmp_path):
    out = tmp_path / "new"
    words = ["--new", "--layers", 1, "--rows", 40, "--vocabulary", 200, "--width", 32, "--out", out]
    result = run(*words, "--seed", 3)
    assert result.exit_code == 0, result.output
    model = load(str(out))
    assert (model.network.config.num_layers, model.network.config.d_model, model.start_id) == (1, 32, model.pad_id)
    one = load_inputs(task_named("demo"), "train", limit=1)[0]
    ids = model.tokenizer(one.reference).input_ids
    assert model.tokenizer.decode(ids, skip_special_tokens=True) == one.reference
    assert json.loads((out / "manifest.json").read_text())["settings"]["seed"] == 3
    assert run(*words[:-1], tmp_path / "again", "--seed", 3).exit_code == 0
    one, other = (load_file(folder / "model.safetensors") for folder in (out, tmp_path / "again"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--new", "--teacher", "demo-teacher"], "--teacher does not go with --new"),
        (["--new", "--decoder-layers", 1], "--decoder-layers does not go with --new"),
        (["--vocabulary", 100], "--vocabulary goes with --new"),
        (["--new", "--width", 40], "--width must be a multiple of 32"),
        (["--new", "--vocabulary", 3], "--vocabulary must be at least 16"),
    ],
)
def test_options_of_a_new_model_and_of_a_kept_one_do_not_mix(tmp_path, words, said):
    result = run("--layers", 1, "--out", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "out").exists()
