"""Files that are cut, replaced or of another shape: whatever reads them names the file, in one sentence with a fix."""

import json
import shutil

import pytest

from ketchup.errors import KetchupError
from ketchup.files import write_jsonl, write_kept_json
from ketchup.manifests import check_same_settings, read_manifest
from ketchup.models.loading import load
from ketchup.rollouts.lines import LineStore
from ketchup.runs import Run
from ketchup.training.metrics import read_metrics
from ketchup_eval.judge.verdicts import VerdictStore
from ketchup_eval.predictions import read_predictions
from ketchup_eval.scores_file import read_scores
from ketchup_eval.variance.rollout_store import part_inputs
from tests import tiny

REPLACED = {
    "empty": b"",
    "a list": b"[]",
    "an object": b"{}",
    "null": b"null",
    "a text": b'"x"',
    "a number": b"3",
    "no number": b"NaN",
    "bytes": bytes(range(256)) * 4,
    "UTF-16": '{"a": 1}\n'.encode("utf-16"),
    "Latin-1": '{"a": "é"}\n'.encode("latin-1"),
    "two objects": b"{}\n{}\n",
    "nested": b"[" * 100_000 + b"\n",
    "a long number": b'{"a": ' + b"9" * 5000 + b"}\n",
}
DAMAGES = [*REPLACED, "cut early", "cut late", "a folder"]


def damage(file, kind):
    content = file.read_bytes()
    if kind == "a folder":
        file.unlink()
        file.mkdir()
    else:
        cut = {"cut early": content[: len(content) // 3], "cut late": content[:-2]}
        file.write_bytes({**REPLACED, **cut}[kind])


def fails(reader, file):
    """Whether it failed, which it may in one sentence alone, with the file and a fix."""
    try:
        reader()
        return False
    except KetchupError as error:
        sentence = str(error)
    assert file.name in sentence
    assert "; " in sentence
    assert "\n" not in sentence
    return True


# Models


@pytest.fixture(scope="module", params=["t5", "llama"])
def whole_model(request, tmp_path_factory):
    return tiny.save(request.param, tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
)
def test_files_of_a_model(tmp_path, whole_model, name, kind):
    folder = shutil.copytree(whole_model, tmp_path / name)  # a sentence on the folder names the file, too
    damage(folder / name, kind)
    failed = fails(lambda: load(str(folder)), folder / name)
    # Nothing is needed of a generation_config.json, and of the others' fields the tokenizer's may be left out.
    assert failed or (kind == "an object" and name in ("generation_config.json", "tokenizer_config.json"))


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("config.json", "num_heads", {}),
        ("config.json", "d_model", 17),
        ("config.json", "vocab_size", 3),
        ("config.json", "vocab_size", "6"),
        ("config.json", "dtype", True),
        ("config.json", "model_type", "t6"),
        ("config.json", "model_type", []),
        ("config.json", "is_encoder_decoder", "x"),
        ("config.json", "decoder_start_token_id", {}),
        ("config.json", "pad_token_id", ["x"]),
        ("generation_config.json", "pad_token_id", {}),
        ("generation_config.json", "eos_token_id", "x"),
        ("tokenizer.json", "model", None),
        ("tokenizer.json", "decoder", "x"),
        ("tokenizer.json", "added_tokens", [{"id": 1}]),
        ("tokenizer_config.json", "eos_token", 3),
        ("tokenizer_config.json", "tokenizer_class", 1e30),
        ("tokenizer_config.json", "model_max_length", "x"),
    ],
)
def test_fields_of_a_models_files(tmp_path, name, field, value):
    folder = tiny.save("t5", tmp_path / name)
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**content, field: value}))
    assert fails(lambda: load(str(folder)), folder / name)


# What commands keep


def _rows(path, row):
    write_jsonl(path, [row] * 3)


KEPT = {
    "manifest.json": (
        lambda path: check_same_settings(path.parent, {"task": "demo"}),
        lambda path: read_manifest(path.parent),
    ),
    "scores.json": (lambda path: write_kept_json(path, {"splits": {}}), read_scores),
    "metrics.jsonl": (lambda path: _rows(path, {"step": 0}), lambda path: read_metrics(Run(path.parent))),
    "verdicts.jsonl": (lambda path: _rows(path, {"key": "k", "reply": "r"}), lambda path: VerdictStore(path.parent)),
    "test.jsonl": (lambda path: write_jsonl(path, [{"id": "1", "prediction": ""}]), read_predictions),
    "outputs.jsonl": (
        lambda path: _rows(path, {"id": "1", "input": "h"}),
        lambda path: LineStore(path, path.parent / "parts", [], lambda *_: []).known(),
    ),
    "part-00000.parquet": (lambda path: path.write_bytes(b"PAR1PAR1"), part_inputs),
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", KEPT)
def test_files_that_commands_keep(tmp_path, name, kind):
    write, reader = KEPT[name]
    file = tmp_path / name
    write(file)
    damage(file, kind)
    failed = fails(lambda: reader(file), file)
    # A last line without its end was being written when a process was killed.
    assert failed or (name.endswith(".jsonl") and b"\n" not in file.read_bytes()) or "cut" in kind
