"""Metrics that a language model computes: BERTScore on a tiny BERT against its formula, COMET in its own Python."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast
from typer.testing import CliRunner

from ketchup.errors import UsageError
from ketchup.files import write_jsonl
from ketchup.tasks import task_named
from ketchup_eval.cli import app
from ketchup_eval.metrics import METRICS, comet, metrics_for
from ketchup_eval.metrics.base import Item
from tests.metrics.given import items

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "mat", "a", "dog", "ran")
TEXTS = ["the cat sat", "a dog ran", "", "mat"]
REFERENCES = ["the cat sat", "the cat sat on a mat", "a dog", ("a dog", "the mat")]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(folder)
    return folder


@torch.no_grad()
def literal(folder, layer, text, reference):
    """F1 of each token's best cosine; it may be with a marker of begin or end, whose own do not count."""
    model = BertModel.from_pretrained(folder).eval()
    vectors = []
    for sentence in (text, reference):
        ids = [WORDS.index(word) for word in ("[CLS]", *sentence.split(), "[SEP]")]
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0]
        vectors.append(torch.nn.functional.normalize(states, dim=-1))
    cosines = vectors[0] @ vectors[1].T
    precision, recall = cosines[1:-1].max(1).values.mean(), cosines[:, 1:-1].max(0).values.mean()
    return (2 * precision * recall / (precision + recall)).item()


def test_bertscore_is_its_formula(bert):
    (metric,) = metrics_for(task_named("xsum"), [f"bertscore:{bert}@1"])
    found = metric.statistics(items(TEXTS, REFERENCES))[:, 0]
    expected = [
        0.0 if not text else max(literal(bert, 1, text, one) for one in ([ref] if isinstance(ref, str) else ref))
        for text, ref in zip(TEXTS, REFERENCES, strict=True)
    ]
    assert found == pytest.approx(expected, abs=1e-5)
    assert metric.scales[0].rule(found.sum(keepdims=True), len(TEXTS)) == pytest.approx(
        100 * sum(expected) / 4, abs=1e-3
    )


def test_a_reference_without_a_word_is_worth_nothing(bert):
    (metric,) = metrics_for(task_named("xsum"), [f"bertscore:{bert}@1"])
    found = metric.statistics(items(["the cat", "the cat"], [" ", (" ", "the cat")]))
    assert found[:, 0] == pytest.approx([0.0, 1.0], abs=1e-6)


def test_a_signature_tells_models_and_layers_apart(bert, tmp_path):
    torch.manual_seed(1)
    BertModel(BertConfig.from_pretrained(bert)).save_pretrained(tmp_path)
    names = [f"bertscore:{bert}@1", f"bertscore:{bert}@2", f"bertscore:{tmp_path}@1", "bertscore"]
    signatures = [metrics_for(task_named("xsum"), [name])[0].signature("1") for name in names]
    assert len(set(signatures)) == len(names)
    assert "model:roberta-large|layer:17" in signatures[-1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bertscore:NOWHERE", "recommends no layer of NOWHERE; name one, as in bertscore:NOWHERE@9"),
        ("rouge:NOWHERE", 'The metric "rouge" has no model to choose; write rouge in place of rouge:NOWHERE'),
        ("comet", "does not fit xsum"),
    ],
)
def test_what_cannot_be_computed_is_named(name, said):
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        metrics_for(task_named("xsum"), [name])[0].signature("1")


COMET = """
class Model:
    def predict(self, rows, batch_size, gpus, progress_bar):
        print("chatter")
        return type("Found", (), {"scores": [len(row["mt"]) / len(row["ref"] + row["src"]) for row in rows]})

def download_model(name):
    if name != "known":
        raise KeyError(name)
    return name

def load_from_checkpoint(path, local_files_only):
    return Model()
"""


@pytest.fixture
def comet_python(tmp_path, monkeypatch):
    """This Python, with a package in COMET's place that scores by lengths."""
    (tmp_path / "lib/unbabel_comet-9.9.dist-info").mkdir(parents=True)
    (tmp_path / "lib/unbabel_comet-9.9.dist-info/METADATA").write_text("Name: unbabel-comet\nVersion: 9.9\n")
    (tmp_path / "lib/comet.py").write_text(COMET)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    monkeypatch.setenv(comet.PYTHON, sys.executable)
    yield
    comet._answers.cache_clear()


@pytest.mark.usefixtures("comet_python")
def test_comet_answers_from_its_own_python_and_the_best_reference_counts():
    (metric,) = metrics_for(task_named("europarl"), ["comet:known"])
    rows = [Item("aa", "xy", ("bb",)), Item("a", "xyz", ("bbbbb", "bb")), Item("é\n", "", ("ü",))]
    assert metric.statistics(rows)[:, 0].tolist() == [0.5, 1.0, 0.0]
    assert metric.statistics(rows[:1])[:, 0].tolist() == [0.5]
    assert metric.signature("1") == "nrefs:1|model:known|version:9.9"
    with pytest.raises(UsageError, match="other cannot be loaded"):
        comet.metric("other").signature("1")


def test_comet_without_its_python_says_what_to_do(monkeypatch):
    monkeypatch.delenv(comet.PYTHON, raising=False)
    with pytest.raises(UsageError, match=r"pip install unbabel-comet, and name it in KETCHUP_COMET"):
        METRICS["comet"].signature("1")
    monkeypatch.setenv(comet.PYTHON, str(Path("/nowhere/python")))
    with pytest.raises(UsageError, match="is no Python that starts"):
        METRICS["comet"].signature("1")
    monkeypatch.setenv(comet.PYTHON, sys.executable)
    with pytest.raises(UsageError, match="unbabel-comet is missing there"):
        METRICS["comet"].signature("1")


def test_evaluate_takes_a_model(bert, tmp_path):
    rows = [{"id": str(place), "prediction": text} for place, text in enumerate(TEXTS)]
    references = tmp_path / "references.jsonl"
    write_jsonl(references, [{"id": row["id"], "reference": "the cat"} for row in rows])
    write_jsonl(tmp_path / "outputs.jsonl", rows)
    words = [
        "evaluate",
        "--predictions",
        str(tmp_path / "outputs.jsonl"),
        "--task",
        "xsum",
        "--references",
        str(tmp_path / "references.jsonl"),
    ]
    words += ["--metrics", f"bertscore:{bert}@2", "--runs-dir", str(tmp_path / "runs"), "--name", "e", "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert '"bertscore"' in result.stdout


DIRECTLY = """
import json, sys
from comet import load_from_checkpoint
model = load_from_checkpoint(sys.argv[1], local_files_only=True)
found = model.predict(json.loads(sys.argv[2]), gpus=0, progress_bar=False)
print(json.dumps([float(score) for score in found.scores]))
"""


@pytest.mark.skipif(not os.environ.get("KETCHUP_TEST_COMET"), reason="KETCHUP_TEST_COMET names no Python with COMET")
def test_scores_are_those_of_a_real_comet(tmp_path, monkeypatch):
    python = os.environ["KETCHUP_TEST_COMET"]
    maker = Path(__file__).with_name("tiny_comet.py")
    subprocess.run([python, str(maker), str(tmp_path)], check=True, cwd=tmp_path)
    texts = ["the cat sat", "sat", "", "the mat"]
    rows = [{"src": "de kat zat", "mt": text, "ref": "the cat sat"} for text in texts]
    words = [python, "-c", DIRECTLY, str(tmp_path / "checkpoints/model.ckpt"), json.dumps(rows)]
    told = subprocess.run(words, check=True, capture_output=True, encoding="utf-8", cwd=tmp_path).stdout
    monkeypatch.setenv(comet.PYTHON, python)
    found = comet.metric(str(tmp_path)).statistics([Item(row["src"], row["mt"], (row["ref"],)) for row in rows])
    assert found[:, 0] == pytest.approx(json.loads(told.splitlines()[-1]), abs=1e-6)
    assert len(set(found[:, 0].tolist())) == len(texts)
