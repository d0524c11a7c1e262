"""`ketchup variance` from command to files, on models small enough to check every number by hand."""

import csv
import json
import os
import shutil
import signal
import statistics

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from ketchup.estimators import ESTIMATORS, Estimator, EstimatorRow
from ketchup.estimators.objectives import EXPECTED_RETURN
from ketchup.models.loading import load
from ketchup_eval.cli import app
from tests import reference, tiny
from tests.commands import Kill, ketchup, write_data
from tests.estimators import literal

INPUTS = 20
SAMPLES = 32
"""Eight inputs a part, so three parts."""
TAILS = ("segment", "one-step")
NUMBERS = ("variance", "bias", "variance_ratio", "theory_ratio", "mse", "same_as_llmr")
SAMPLE = "ketchup.rollouts.fill.sample"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with data, a teacher and two students."""
    folder = tmp_path_factory.mktemp("inputs")
    write_data(folder / "data", test=INPUTS)
    tiny.save("t5", folder / "teacher", seed=1)
    tiny.save("t5", folder / "near", seed=1)
    tiny.save("t5", folder / "far", seed=2)
    network = tiny.network("t5", 6, seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.02)
    network.save_pretrained(folder / "near")
    return folder


def arguments(inputs, *more, ks=(1, 2, 4)):
    given = ["variance", "--task", "gsm8k", "--data", inputs / "data", "--teacher", inputs / "teacher"]
    given += ["--student", inputs / "near", inputs / "far", "--samples", SAMPLES, "--max-new-tokens", 9]
    given += ["--threads", 1, "--tail", "both", "--k", *ks]
    return [str(argument) for argument in [*given, *more]]


def invoke(folder, inputs, *more, ks=(1, 2, 4)):
    return CliRunner().invoke(app, arguments(inputs, "--runs-dir", folder / "runs", *more, ks=ks))


def result_of(folder):
    content = json.loads((folder / "runs/variance-gsm8k/variance.json").read_text())
    del content["seconds"]
    return content


def parts_of(folder):
    """Every part with the time it was written."""
    files = (folder / "runs/variance-gsm8k/rollouts").glob("*/part-*.parquet")
    return {file.relative_to(folder): file.stat().st_mtime_ns for file in files}


@pytest.fixture(scope="module")
def study(tmp_path_factory, inputs):
    """An unbroken study and what it printed."""
    folder = tmp_path_factory.mktemp("study")
    done = ketchup(folder, *arguments(inputs, "--json"))
    assert done.code == 0, done.stderr
    return folder, done


@pytest.fixture(scope="module")
def rollouts(study):
    """The rows of the students, by folder name."""
    folder = study[0] / "runs/variance-gsm8k/rollouts"
    return {
        path.name: [row for part in sorted(path.glob("*.parquet")) for row in pq.read_table(part).to_pylist()]
        for path in sorted(folder.iterdir())
    }


def estimates(content, student, tail):
    (found,) = [entry for entry in content["students"] if entry["name"].endswith(student)]
    return {entry["k"]: entry for entry in found["estimates"] if entry["tail"] == tail}


def by_input(rows):
    grouped = {}
    for row in rows:
        grouped.setdefault(row["id"], []).append(row)
    return grouped


def test_a_study_leaves_all_its_files(study, inputs):
    folder, done = study
    run = folder / "runs/variance-gsm8k"
    assert {path.name for path in run.iterdir()} - {".lock"} == {
        "manifest.json", "rollouts", "variance.json", "variance.csv", "variance.png", "variance.pdf", "theory.png",
        "theory.pdf",
    }  # fmt: skip
    assert [str(path) for path in sorted(parts_of(folder))] == [
        f"runs/variance-gsm8k/rollouts/{student}/part-{number:05d}.parquet"
        for student in ("1-near", "2-far")
        for number in range(3)
    ]
    assert (run / "variance.png").read_bytes().startswith(b"\x89PNG")
    assert (run / "variance.pdf").read_bytes().startswith(b"%PDF")
    settings = json.loads((run / "manifest.json").read_text())["settings"]
    assert settings["samples"] == SAMPLES
    assert settings["seed"] == 0
    assert settings["fingerprints"][str(inputs / "teacher")] == load(str(inputs / "teacher")).fingerprint
    assert "Warning" not in done.stderr


def test_json_is_all_of_stdout_and_follows_the_schema(study, inputs):
    folder, done = study
    content = json.loads(done.stdout)
    assert content == json.loads((folder / "runs/variance-gsm8k/variance.json").read_text())
    assert content["schema"] == 1
    assert (content["task"], content["teacher"]) == ("gsm8k", str(inputs / "teacher"))
    assert (content["samples"], content["inputs"], content["gauge"], content["seed"]) == (SAMPLES, INPUTS, "raw", 0)
    for student in content["students"]:
        assert student["kl"]["low"] <= student["kl"]["value"] <= student["kl"]["high"]
        assert student["kl"]["n"] == INPUTS
        assert 1 <= student["mean_length"]["value"] <= 9
        kinds = [(entry["tail"], entry["k"]) for entry in student["estimates"]]
        assert kinds == [(tail, k) for tail in ("segment", "one-step") for k in (1, 2, 4)]
        assert [entry["estimator"] for entry in student["estimates"]] == [
            f"k-step:{k}|tail:{tail}|gauge:raw" for tail, k in kinds
        ]
        for entry in student["estimates"]:
            for name in NUMBERS:
                assert {"value", "low", "high"} <= set(entry[name])
    assert [student["name"] for student in content["students"]] == [str(inputs / "far"), str(inputs / "near")]


def test_the_json_has_what_theorem_1_leaves_out_and_slices_by_position_and_length(study, rollouts):
    for student in result_of(study[0])["students"]:
        (rows,) = [rows for name, rows in rollouts.items() if student["name"].endswith(name[2:])]
        for entry in student["estimates"]:
            gap = {name: number["value"] for name, number in entry["theory_gap"].items()}
            total = entry["variance_ratio"]["value"] - entry["theory_ratio"]["value"]
            assert gap.pop("total") == pytest.approx(total, abs=1e-12)
            assert set(gap) == {"positions", "states", "steps", "lengths"}
            assert sum(gap.values()) == pytest.approx(total, abs=1e-9)
            first = entry["by_position"][0]
            assert (first["first"], first["last"], first["count"]) == (0, 0, len(rows))
            assert first["variance"]["value"] == pytest.approx(entry["variance"]["value"], rel=1e-9)
            assert [place["first"] for place in entry["by_position"]] == [0, 1, 2, 4, 8]
            assert sum(place["count"] for place in entry["by_length"]) <= len(rows)
            for part in (*entry["by_position"], *entry["by_length"]):
                assert {"value", "low", "high", "n"} == set(part["variance"]) == set(part["bias"])


def test_the_csv_holds_the_numbers_of_the_json(study):
    folder, done = study
    content = json.loads(done.stdout)
    with (folder / "runs/variance-gsm8k/variance.csv").open() as file:
        rows = list(csv.DictReader(file))
    for student in content["students"]:
        for entry in student["estimates"]:
            (row,) = [
                row
                for row in rows
                if (row["student"], row["tail"], row["k"], row["quantity"])
                == (student["name"], entry["tail"], str(entry["k"]), "variance")
            ]
            assert float(row["value"]) == entry["variance"]["value"]
            assert float(row["high"]) == entry["variance"]["high"]


def test_parts_hold_every_sample_of_every_input(rollouts):
    for rows in rollouts.values():
        groups = by_input(rows)
        assert list(groups) == [f"gsm8k-test-{number}" for number in range(INPUTS)]
        assert {tuple(row["sample"] for row in group) for group in groups.values()} == {tuple(range(SAMPLES))}
        assert all(len(row["q"]) == sum(row["action"]) for row in rows)
        assert all(row["ended"] == (row["tokens"][-1] == 1) for row in rows)


@pytest.mark.parametrize("student", ["near", "far"])
@pytest.mark.parametrize("tail", ["segment", "one-step"])
@pytest.mark.parametrize("k", [2, 4])
def test_numbers_agree_with_the_literal_transcription(study, rollouts, student, tail, k):
    content = result_of(study[0])
    (rows,) = [rows for name, rows in rollouts.items() if name.endswith(student)]
    variances, biases, first = [], [], []
    for group in by_input(rows).values():
        returns = [reference.k_step_returns(row["q"], row["v"], k, tail)[0] for row in group]
        full = [reference.reward_to_go(row["q"], row["v"])[0] for row in group]
        variances.append(reference.unbiased_variance(returns))
        first.append(reference.unbiased_variance(full))
        biases.append(statistics.fmean(returns) - statistics.fmean(full))
    found = estimates(content, student, tail)
    assert found[k]["variance"]["value"] == pytest.approx(statistics.fmean(variances), rel=1e-9)
    assert found[k]["bias"]["value"] == pytest.approx(statistics.fmean(biases), rel=1e-9, abs=1e-9)
    assert found[1]["variance"]["value"] == pytest.approx(statistics.fmean(first), rel=1e-9)
    ratio = statistics.fmean(variances) / statistics.fmean(first)
    assert found[k]["variance_ratio"]["value"] == pytest.approx(ratio, rel=1e-9)
    assert found[k]["bias"]["value"] > 0.01


ROWS = (
    "shrink:0.5", "discount:0.5", "n-step:2", "expected-future", "all-action:1", "soft", "reverse-kl:0", "reverse-kl:1",
    "placebo:constant", "placebo:shuffled",
)  # fmt: skip


@pytest.fixture(scope="module")
def further(study, inputs, tmp_path_factory):
    """The same study with other estimators, from the same rollouts."""
    folder = tmp_path_factory.mktemp("further")
    shutil.copytree(study[0] / "runs", folder / "runs")
    done = invoke(folder, inputs, "--estimator", *ROWS)
    assert done.exit_code == 0, done.stderr
    return folder, done


@pytest.mark.parametrize("text", ROWS)
def test_further_estimators_are_measured_from_the_same_rollouts(study, further, rollouts, text):
    """Variance and bias of Ĝ_0 against the word-for-word formulas."""
    assert parts_of(further[0]).keys() == parts_of(study[0]).keys()
    (rows,) = [rows for name, rows in rollouts.items() if name.endswith("far")]
    variances, biases = [], []
    for group in by_input(rows).values():
        found = [values[0] for values in literal.batch_returns(text, [group])[0]]
        objective = {"soft": "soft", "reverse-kl:0": "reverse-kl:0", "reverse-kl:1": "reverse-kl:1"}.get(text, "llmr")
        target = [values[0] for values in literal.batch_returns(objective, [group])[0]]
        if text == "all-action:1":  # which has all but the first term
            target = [x - row["q"][0] for x, row in zip(target, group, strict=True)]
        variances.append(reference.unbiased_variance(found))
        biases.append(statistics.fmean(found) - statistics.fmean(target))
    (entry,) = [
        entry
        for student in result_of(further[0])["students"]
        for entry in student["estimates"]
        if student["name"].endswith("far") and entry["estimator"].startswith(f"{text}|")
    ]
    assert "k" not in entry
    assert "tail" not in entry
    assert entry["variance"]["value"] == pytest.approx(statistics.fmean(variances), rel=1e-9, abs=1e-12)
    assert entry["estimator"].endswith("|gauge:logprob" if text.startswith(("soft", "reverse")) else "|gauge:raw")
    if text.startswith("placebo"):
        assert entry["bias"]["value"] is None
    else:
        assert entry["bias"]["value"] == pytest.approx(statistics.fmean(biases), rel=1e-9, abs=1e-9)
    assert text in further[1].stdout


def test_a_row_of_a_newcomer_is_measured_at_once(finished, inputs, no_sampling, monkeypatch):
    made = Estimator("own-step", lambda n: n.q, EXPECTED_RETURN, unbiased=False, needs=frozenset({"q"}))
    monkeypatch.setitem(ESTIMATORS, "own-step", EstimatorRow(lambda: made, "q_t", "this file", ("own-step",)))
    done = invoke(finished, inputs, "--estimator", "own-step", "k-step:99")
    assert done.exit_code == 0, done.stderr
    mine, same = result_of(finished)["students"][0]["estimates"][-2:]
    assert (mine["estimator"], same["estimator"]) == ("own-step|gauge:raw", "k-step:99|tail:segment|gauge:raw")
    for name in ("variance", "bias", "mse", "variance_ratio"):
        assert mine[name]["value"] == pytest.approx(same[name]["value"])
    assert mine["theory_ratio"]["value"] is None


def test_rollouts_of_an_earlier_version_are_measured_and_say_what_they_lack(finished, study, inputs, no_sampling):
    for path in (finished / "runs/variance-gsm8k/rollouts").glob("*/part-*.parquet"):
        old = pq.read_table(path).drop_columns(["own_value", "collision"]).replace_schema_metadata(None)
        pq.write_table(old, path)
    assert invoke(finished, inputs).exit_code == 0
    assert result_of(finished) == result_of(study[0])
    done = invoke(finished, inputs, "--estimator", "soft", "expected-future")
    assert done.exit_code == 1
    said = "part-00000.parquet was written before own_value was kept, which expected-future needs; delete "
    assert said in done.stderr
    assert result_of(finished) == result_of(study[0])


def test_probabilities_are_those_of_the_distribution_that_was_sampled(tmp_path, inputs):
    """log π, Σ π² and Ē at a temperature and within the top k; parts that had them otherwise are not read for these."""
    words = ["--limit", 2, "--temperature", 0.5, "--top-k", 3, "--estimator", "reverse-kl:1"]
    assert invoke(tmp_path, inputs, *words).exit_code == 0
    teacher, student = load(str(inputs / "teacher")), load(str(inputs / "far"))
    path = tmp_path / "runs/variance-gsm8k/rollouts/2-far/part-00000.parquet"
    lines = (inputs / "data/test.jsonl").read_text().splitlines()
    for row in pq.read_table(path).to_pylist()[::17]:
        prompt = ["abcd".index(letter) + 2 for letter in json.loads(lines[int(row["id"][-1])])["question"]]
        for place, token in enumerate(row["tokens"]):
            logits = tiny.next_logits(student, prompt, row["tokens"][:place]) / 0.5
            kept = torch.full_like(logits, -torch.inf).scatter(0, logits.topk(3).indices, 0.0)
            log_pi = (logits + kept).log_softmax(-1)
            q = tiny.next_logits(teacher, prompt, row["tokens"][:place])
            assert row["log_prob"][place] == pytest.approx(log_pi[token].item(), abs=1e-4)
            assert row["collision"][place] == pytest.approx(log_pi.exp().square().sum().item(), abs=1e-4)
            assert row["own_value"][place] == pytest.approx((log_pi.exp() * q).sum().item(), abs=1e-4)
    for part in path.parents[1].glob("*/*.parquet"):
        pq.write_table(pq.read_table(part).drop_columns(["own_value"]).replace_schema_metadata(None), part)
    done = invoke(tmp_path, inputs, *words)
    assert "was written before own_value was kept, which reverse-kl:1 needs" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--estimator", "shrnk:2"], "There is no estimator 'shrnk'"),
        (["--estimator", "shrink:2"], "The c of shrink must be from 0 to 1, not 2.0"),
        (["--estimator", "soft", "k-step:0"], "The K of k-step must be at least 1, not 0"),
    ],
)
def test_a_row_that_is_none_is_refused_before_any_work(tmp_path, inputs, words, said):
    done = invoke(tmp_path, inputs, *words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (tmp_path / "runs").exists()


def test_k_1_is_the_same_with_both_tails(study):
    content = result_of(study[0])
    for student in ("near", "far"):
        segment, one_step = (estimates(content, student, tail)[1] for tail in ("segment", "one-step"))
        assert {**segment, "tail": "", "estimator": ""} == {**one_step, "tail": "", "estimator": ""}
        assert segment["bias"]["value"] == 0
        assert segment["variance_ratio"]["value"] == 1
        assert segment["same_as_llmr"]["value"] == 1
        assert estimates(content, student, "segment")[2] != estimates(content, student, "one-step")[2]


def test_the_share_of_variance_that_length_explains_agrees_with_a_regression(study, rollouts):
    for folder, rows in rollouts.items():
        explained = total = 0.0
        for mine in by_input(rows).values():
            returns = [row["v"][0] + sum(np.subtract(row["q"], row["v"])) for row in mine]
            lengths = [len(row["q"]) for row in mine]
            total += statistics.variance(returns)
            if len(set(lengths)) > 1:
                beside = 1 - statistics.correlation(lengths, returns) ** 2
                explained += statistics.variance(returns) * (1 - beside * (SAMPLES - 1) / (SAMPLES - 2))
        (found,) = [
            entry for entry in result_of(study[0])["students"] if entry["name"].endswith(folder.split("-", 1)[1])
        ]
        assert found["length_share"]["value"] == pytest.approx(explained / total, rel=1e-4)


def test_values_kl_and_return_agree_with_plain_forward_passes(study, rollouts, inputs):
    """q, v, log-probability and KL of a handful of rollouts, from one unpadded pass for each token."""
    teacher, student = load(str(inputs / "teacher")), load(str(inputs / "far"))
    lines = (inputs / "data/test.jsonl").read_text().splitlines()
    for row in rollouts["2-far"][:: SAMPLES * 5 + 3]:
        question = json.loads(lines[int(row["id"].rsplit("-", 1)[1])])["question"]
        prompt = ["abcd".index(letter) + 2 for letter in question]
        for place, token in enumerate(row["tokens"]):
            wanted, own = (tiny.next_logits(model, prompt, row["tokens"][:place]) for model in (teacher, student))
            log_p, log_pi = wanted.log_softmax(-1), own.log_softmax(-1)
            assert row["q"][place] == pytest.approx(wanted[token].item(), abs=1e-4)
            assert row["v"][place] == pytest.approx(wanted.max().item(), abs=1e-4)
            assert row["log_prob"][place] == pytest.approx(log_pi[token].item(), abs=1e-4)
            assert row["kl"][place] == pytest.approx((log_p.exp() * (log_p - log_pi)).sum().item(), abs=1e-4)
    content = result_of(study[0])
    for name, rows in rollouts.items():
        (found,) = [entry for entry in content["students"] if entry["name"].endswith(name[2:])]
        assert found["kl"]["value"] == pytest.approx(np.concatenate([row["kl"] for row in rows]).mean(), rel=1e-6)
        lengths = [sum(row["action"]) for row in rows]
        assert found["mean_length"]["value"] == pytest.approx(statistics.fmean(lengths))
        returns = [reference.reward_to_go(row["q"], row["v"])[0] for row in rows]
        assert found["mean_return"]["value"] == pytest.approx(statistics.fmean(returns))
        assert found["ended"]["value"] == pytest.approx(statistics.fmean(row["ended"] for row in rows))


KILLS = {
    "a part half written": Kill("pyarrow.parquet.write_table", 2, "after"),
    "between the students": Kill("ketchup_eval.variance.rollout_store.write_part", 3),
    "in the second student": Kill("ketchup_eval.variance.rollout_store.write_part", 4),
    "before the results": Kill("ketchup_eval.variance.files.atomic_write_text", 1, "before"),
}


@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_a_killed_study_goes_on_where_it_was(tmp_path, study, inputs, kill):
    assert ketchup(tmp_path, *arguments(inputs), kill=kill).code == -signal.SIGKILL
    before = parts_of(tmp_path)
    # One draw too many, for a part that is there, would kill the second run too.
    second = Kill(SAMPLE, 6 - len(before) + 1, "before")
    done = ketchup(tmp_path, *arguments(inputs), kill=second)
    assert done.code == 0, done.stderr
    assert before.items() <= parts_of(tmp_path).items()
    assert result_of(tmp_path) == result_of(study[0])


@pytest.fixture
def finished(tmp_path, study):
    """A copy of the finished study, to go on with."""
    shutil.copytree(study[0] / "runs", tmp_path / "runs")
    return tmp_path


@pytest.fixture
def no_sampling(monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError("something is sampled")

    monkeypatch.setattr(SAMPLE, fail)


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ([], {"ks": (3, 8)}),
        (["--tail", "segment"], {"tails": ["segment"]}),
        (["--gauge", "logprob"], {"gauge": "logprob"}),
        (["--limit", 11], {"inputs": 11}),
    ],
)
def test_other_questions_need_no_new_rollouts(finished, study, inputs, no_sampling, more, changed):
    before = parts_of(finished)
    tails, ks = changed.get("tails", ["segment", "one-step"]), changed.get("ks", (1, 2, 4))
    done = invoke(finished, inputs, *more, ks=ks)
    assert done.exit_code == 0, done.stderr
    assert parts_of(finished) == before
    content = result_of(finished)
    kinds = {(entry["tail"], entry["k"]) for student in content["students"] for entry in student["estimates"]}
    assert kinds == {(tail, k) for tail in tails for k in ks}
    assert content["gauge"] == changed.get("gauge", "raw")
    assert content["inputs"] == changed.get("inputs", INPUTS)


def test_no_gauge_moves_numbers_at_the_start(finished, study, inputs, no_sampling):
    assert invoke(finished, inputs, "--gauge", "logprob").exit_code == 0
    raw, other = result_of(study[0]), result_of(finished)
    for k in (1, 2, 4):
        before, now = (estimates(content, "far", "segment")[k] for content in (raw, other))
        assert now["variance"]["value"] == pytest.approx(before["variance"]["value"], rel=1e-9)
        assert now["variance_mean_t"]["value"] != pytest.approx(before["variance_mean_t"]["value"], rel=1e-3)


def test_more_inputs_keep_the_whole_parts(tmp_path, study, inputs):
    assert invoke(tmp_path, inputs, "--limit", 10).exit_code == 0
    before = parts_of(tmp_path)
    assert len(before) == 4
    assert invoke(tmp_path, inputs).exit_code == 0
    after = parts_of(tmp_path)
    assert len(after) == 6
    assert {path.name for path in before if after[path] == before[path]} == {"part-00000.parquet"}
    assert result_of(tmp_path) == result_of(study[0])


def test_an_edited_row_is_sampled_anew_though_its_number_is_the_same(tmp_path, inputs):
    mine = tmp_path / "inputs"
    shutil.copytree(inputs, mine)
    assert invoke(tmp_path, mine, "--limit", 16).exit_code == 0
    before = parts_of(tmp_path)
    rows = (mine / "data/test.jsonl").read_text().splitlines()
    rows[9] = json.dumps({"question": "dcba", "answer": "a"})
    (mine / "data/test.jsonl").write_text("\n".join(rows) + "\n")
    assert invoke(tmp_path, mine, "--limit", 16).exit_code == 0
    after = parts_of(tmp_path)
    assert {path.name for path in before if after[path] == before[path]} == {"part-00000.parquet"}


def test_a_second_study_of_the_same_seed_is_the_same_and_of_another_is_not(tmp_path, study, inputs):
    assert invoke(tmp_path, inputs, "--limit", 8).exit_code == 0
    assert invoke(tmp_path, inputs, "--limit", 8, "--seed", 1, "--name", "other").exit_code == 0
    first = study[0] / "runs/variance-gsm8k/rollouts/2-far/part-00000.parquet"
    same, other = (tmp_path / "runs" / name / "rollouts/2-far" / first.name for name in ("variance-gsm8k", "other"))
    assert pq.read_table(same).equals(pq.read_table(first))
    assert not pq.read_table(other).equals(pq.read_table(first))


def test_a_dry_run_writes_nothing(tmp_path, inputs, finished):
    empty = tmp_path / "empty"
    empty.mkdir()
    done = invoke(empty, inputs, "--dry-run")
    assert done.exit_code == 0
    assert os.listdir(empty) == []  # noqa: PTH208
    assert f"{INPUTS} inputs x {SAMPLES} samples of at most 9 tokens" in done.stdout
    assert done.stdout.count(f"{INPUTS} inputs to sample") == 2
    times = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    done = invoke(finished, inputs, "--dry-run")
    assert done.stdout.count(": 0 inputs to sample") == 2
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == times


def test_what_rests_on_few_inputs_is_said(study, finished, inputs, rollouts):
    """Effective inputs and the share of a tenth of them, from the rows; 20 are never as good as 20 equal ones."""
    content = result_of(study[0])
    for name, rows in rollouts.items():
        variances = sorted(
            statistics.variance([reference.reward_to_go(row["q"], row["v"])[0] for row in group])
            for group in by_input(rows).values()
        )
        (found,) = [entry for entry in content["students"] if entry["name"].endswith(name[2:])]
        assert found["concentration"]["effective"] == pytest.approx(sum(variances) ** 2 / sum(x * x for x in variances))
        assert found["concentration"]["top_tenth"] == pytest.approx(sum(variances[-2:]) / sum(variances))
        assert found["enough_inputs"] is False
    said = " ".join(invoke(finished, inputs).stdout.split())
    assert said.count("too few inputs for the skew seen") == 2
    assert "Use --limit 30 or more" in said


def test_a_k_beyond_every_rollout_is_named(finished, inputs, no_sampling):
    done = invoke(finished, inputs, ks=(1, 8, 9, 40))
    assert done.exit_code == 0
    lines = [line for line in done.stdout.splitlines() if "compare smaller K" in line]
    said = "no rollout has more than 9 actions, so that K = 9, 40 gives the first action's own term alone with tail seg"
    assert len(lines) == 2
    assert all(said in line and "and the full return with tail one-step" in line for line in lines)
    for k in (9, 40):
        for student in result_of(finished)["students"]:
            assert student["longest"] == 9
            segment, one_step = (estimates(result_of(finished), student["name"], tail)[k] for tail in TAILS)
            assert segment["variance"]["value"] < one_step["variance"]["value"]
            assert one_step["variance_ratio"]["value"] == 1


def test_tables_name_students_intervals_and_files(finished, inputs):
    done = invoke(finished, inputs)
    assert done.exit_code == 0
    assert done.stdout.count("tail segment") == done.stdout.count("tail one-step") == 2
    assert "variance.json" in done.stdout
    assert f"{INPUTS} inputs x {SAMPLES} samples" in done.stdout
