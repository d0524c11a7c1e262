"""Which checkpoint is the best: by return, loss, or a metric of greedy outputs on validation rows."""

import json
import os

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from typer.testing import CliRunner

from ketchup.errors import DataError, UsageError
from ketchup.files import read_jsonl
from ketchup.methods import method
from ketchup.tasks import task_named
from ketchup.tasks.base import Input
from ketchup.training import validation
from ketchup.training.checkpoints import TrainerState
from ketchup.training.experience import Inputs
from ketchup.training.selection import Selection, selection
from ketchup.training.train_settings import TrainSettings
from ketchup.training.validation import graded
from ketchup_eval.cli import app
from ketchup_eval.evaluation.selecting import metric_to_select_by

DUTCH = [
    Input("a", "He sleeps.", "Hij slaapt nu in zijn bed."),
    Input("b", "It is late.", "Het is al erg laat."),
    Input("c", "We go home.", "Wij gaan samen naar huis."),
]
TEXTS = ["Hij slaapt in zijn bed.", "Het is laat al.", "Wij eten thuis."]


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def demo(folder, *more):
    words = ["train", "sft", "--student", "demo-student-3", "--limit", 64, "--validation-limit", 8, "--steps", 3]
    words += ["--batch-size", 4, "--lr", 0.01, "--eval-every", 1, "--milestones", 1, 2, 3, "--threads", 1]
    return [*words, "--name", "run", "--runs-dir", folder, *more]


@pytest.fixture(scope="module")
def selected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    done = invoke(*demo(folder, "--select", "accuracy"))
    assert done.exit_code == 0, done.output
    return folder


def test_the_metric_is_that_of_the_checkpoints_outputs_and_best_is_the_first_of_the_best(selected):
    rows, _ = read_jsonl(selected / "run" / "metrics.jsonl")
    logged = {row["step"]: row["validation_accuracy"] for row in rows}
    assert set(logged) == {0, 1, 2, 3}
    # the independent source: `ketchup evaluate` of a kept checkpoint on the same rows
    words = ["evaluate", selected / "run/checkpoints/step-000001", "--split", "validation", "--limit", 8]
    done = invoke(*words, "--name", "seen", "--runs-dir", selected, "--threads", 1)
    assert done.exit_code == 0, done.output
    scores = json.loads((selected / "seen/scores.json").read_text())["splits"]["validation"]["scores"]
    assert scores["accuracy"]["value"] == pytest.approx(logged[1])
    best = max(range(1, 4), key=lambda step: logged[step])
    assert os.readlink(selected / "run/best") == f"checkpoints/step-{best:06d}"


def test_a_run_goes_on_by_the_same_choice_alone(selected):
    assert invoke(*demo(selected, "--select", "Accuracy")).exit_code == 0
    for other, was in ((["--select", "loss"], '"accuracy" and is now "loss"'), ([], '"accuracy" and is now unset')):
        refused = invoke(*demo(selected, *other))
        assert refused.exit_code == 1
        assert f"select was {was}" in refused.output
        assert len(refused.output.strip().splitlines()) == 1


def test_runs_without_a_choice_record_none_so_that_older_ones_go_on():
    plain = TrainSettings(method="llmr", task="demo", student="x")
    assert "select" not in plain.recorded()
    assert TrainSettings(method="llmr", task="demo", student="x", select="return").recorded()["select"] == "return"


def test_the_report_shows_what_was_selected_by(selected):
    done = invoke("report", "run", "--runs-dir", selected)
    assert done.exit_code == 0, done.output
    assert "validation accuracy" in done.output
    (curve,) = json.loads((selected / "report/curves.json").read_text())["curves"]
    assert [point["step"] for point in curve["validation"]["accuracy"]] == [0, 1, 2, 3]


# Values by the libraries themselves, called as their own documentation does.
LITERAL = {
    "bleu": sacrebleu.corpus_bleu(TEXTS, [[row.reference for row in DUTCH]]).score,
    "chrf": sacrebleu.corpus_chrf(TEXTS, [[row.reference for row in DUTCH]]).score,
    "ter": sacrebleu.corpus_ter(TEXTS, [[row.reference for row in DUTCH]]).score,
    "rouge-l": sum(
        100 * RougeScorer(["rougeL"], use_stemmer=True).score(row.reference, text)["rougeL"].fmeasure / 3
        for row, text in zip(DUTCH, TEXTS, strict=True)
    ),
}


@pytest.mark.parametrize("name", LITERAL)
def test_metrics_are_those_of_the_libraries_and_know_their_direction(name):
    metric = metric_to_select_by(task_named("europarl"), name)
    assert metric.score(DUTCH, TEXTS) == pytest.approx(LITERAL[name])
    assert metric.higher_is_better == (name != "ter")
    assert metric.score(DUTCH, [row.reference for row in DUTCH]) == pytest.approx(0 if name == "ter" else 100)


@pytest.mark.parametrize(("higher", "best"), [(True, 2), (False, 4)])
def test_of_equals_the_first_is_the_best_in_either_direction(higher, best):
    state, chosen = TrainerState(), Selection("m", higher)
    for step, value in enumerate([float("nan"), 3.0, 7.0, 7.0, 1.0, 1.0, float("inf")]):
        state.step = step
        state.consider({"validation_m": value}, chosen)
        state.consider({"loss": 0.0}, chosen)  # a step without validation
    assert state.best_step == best


class Two:
    """The second of two processes, whose first has written its blocks already."""

    in_step = None

    def __init__(self, first):
        self.first = first

    def share(self, rows):
        return rows[1::2]

    def everywhere(self, here):
        return [self.first, here]


class Writer:
    def write(self, inputs):
        return [TEXTS[int(prompt[0])] for prompt in inputs.prompts]


def test_a_score_is_of_the_outputs_of_all_processes(monkeypatch):
    monkeypatch.setattr(validation, "BLOCK", 1)
    chosen = selection("bleu", method("kl", {}), metric_to_select_by(task_named("europarl"), "bleu"), DUTCH)
    inputs = Inputs([row.id for row in DUTCH], [[0], [1], [2]], {})
    found = graded(chosen, Writer(), inputs, Two({0: [TEXTS[0]], 2: [TEXTS[2]]}))
    assert found == {"validation_bleu": pytest.approx(LITERAL["bleu"])}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("blue", '--select knows no "blue": did you mean "bleu" of return, loss, rouge1,'),
        ("retrun", 'did you mean "return"'),
        ("zzz", '--select knows no "zzz": choose one of return, loss'),
        ("accuracy", "--select accuracy does not fit europarl (translation); choose one of return, loss, rouge1"),
    ],
)
def test_a_metric_of_nothing_or_of_another_task_is_refused(name, words):
    with pytest.raises(UsageError) as error:
        metric_to_select_by(task_named("europarl"), name)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("name", "chosen", "words"),
    [
        ("return", "sft", "does not ask the teacher for returns"),
        ("return", "seqkd", "does not ask the teacher for returns"),
        ("loss", "llmr", "says nothing about how good the student is"),
        ("bleu", "kl", "--select bleu needs the metric of that name"),
    ],
)
def test_what_a_methods_validation_lacks_is_refused(name, chosen, words):
    with pytest.raises(UsageError, match=words):
        selection(name, method(chosen, {}), None, ())


def test_the_default_is_the_return_of_policy_gradients_and_the_loss_of_others():
    assert selection(None, method("llmr", {}), None, ()) == Selection("return", True)
    assert selection(None, method("kl", {}), None, ()) == Selection("loss", False)


def test_rows_without_a_reference_to_score_by_are_named_before_anything_runs():
    bleu, accuracy = (
        metric_to_select_by(task_named("europarl"), "bleu"),
        metric_to_select_by(task_named("demo"), "accuracy"),
    )
    kl = method("kl", {})
    with pytest.raises(DataError, match=r'validation row "b" has no reference, which --select bleu needs'):
        selection("bleu", kl, bleu, [DUTCH[0], Input("b", "x", " ")])
    with pytest.raises(DataError, match=r'--select accuracy, validation row "q": the reference "twelve" states no'):
        selection("accuracy", kl, accuracy, [Input("p", "x", "#### 3"), Input("q", "x", "twelve")])


def test_a_refused_choice_is_one_sentence_of_the_command(tmp_path):
    done = invoke(*demo(tmp_path, "--select", "blue"))
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
