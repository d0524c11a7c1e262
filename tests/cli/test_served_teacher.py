"""`--teacher-url` on every command with a teacher: the local teacher's numbers, nothing asked twice, sentences."""

import json
import re

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ketchup.files import read_jsonl
from ketchup.models.loading import load
from ketchup.models.prompts import default_style, prompt_ids
from ketchup.remote.calls import Patience
from ketchup.tasks import task_named
from ketchup.tasks.rows import load_inputs
from ketchup_eval.cli import app
from tests import tiny
from tests.commands import Kill, ketchup, together, write_data
from tests.models.fake_teacher import NAME, FakeTeacher

SAMPLES = 8
MODELS = {
    "variance": ["variance", "--samples", SAMPLES, "--tail", "both", "--k", 1, 2, 4, "--student"],
    "train": ["train", "ketchup", "--k", 2, "--steps", 2, "--batch-size", 4, "--lr", 0.01, "--student"],
    "evaluate": ["evaluate"],
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    data = write_data(folder / "data", train=8, validation=3, test=40) / "test.jsonl"
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    data.write_text("".join(json.dumps({**row, "answer": "#### 12"}) + "\n" for row in rows))
    tiny.save(tiny.WIDE, folder / "teacher", seed=1)
    tiny.save(tiny.WIDE, folder / "student", seed=2)
    tiny.save("t5", folder / "t5", seed=2)
    return folder


@pytest.fixture(scope="module")
def model(inputs):
    return load(str(inputs / "teacher"))


def words(folder, inputs, command, *more, student="student"):
    """The command; its name is replaced by those of `MODELS`."""
    given = [*MODELS[command], inputs / student, "--task", "gsm8k", "--data", inputs / "data", "--name", "run"]
    given += ["--runs-dir", folder / "runs", "--threads", 1, "--max-new-tokens", 6, "--device", "cpu", *more]
    return [str(word) for word in given]


def invoke(folder, inputs, command, *more, **kind):
    return CliRunner().invoke(app, words(folder, inputs, command, *more, **kind))


def behind(url):
    return ["--teacher", NAME, "--teacher-url", url]


def here(inputs):
    return ["--teacher", inputs / "teacher"]


def rows_of(folder):
    """What variance stored, a row a rollout."""
    parts = sorted((folder / "runs/run/rollouts").glob("*/part-*.parquet"))
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


def numbers(value):
    """All numbers of a result with their places, but for the seconds."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name not in ("seconds", "kl", "reverse_kl", "teacher", "name"):
                yield from ((f"{name}.{place}", number) for place, number in numbers(part))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from ((f"{index}.{place}", number) for place, number in numbers(part))
    else:
        yield "", value


def test_variance_is_that_of_the_local_teacher(tmp_path, inputs, model):
    fake = FakeTeacher(model)
    more = ["--estimator", "soft", "reverse-kl:1", "shrink:0.25", "--limit", 10]
    with fake.running() as url:
        done = invoke(tmp_path / "served", inputs, "variance", *behind(url), *more)
    assert done.exit_code == 0, done.output
    assert "KL(π‖p)" in done.stdout
    again = invoke(tmp_path / "local", inputs, "variance", *here(inputs), "--gauge", "logprob", *more)
    assert again.exit_code == 0, again.output
    found, known = (json.loads((tmp_path / x / "runs/run/variance.json").read_text()) for x in ("served", "local"))
    assert found["gauge"] == "logprob"
    estimates = [numbers(result["students"][0]["estimates"]) for result in (found, known)]
    pairs = list(zip(*estimates, strict=True))
    assert len(pairs) > 300
    for (place, one), (same, other) in pairs:
        assert place == same
        assert one == (pytest.approx(other, abs=1e-3, rel=1e-3) if isinstance(other, float) else other), place
    assert set(fake.rollouts_asked.values()) == {1}

    # KL(π‖p) of the stored rollouts, from the definition: the mean of log π - log p over all actions.
    rows = rows_of(tmp_path / "local")
    terms = [
        log_pi - (q - z)
        for row in rows
        for log_pi, q, z in zip(row["log_prob"], row["q"], row["logsumexp"], strict=True)
    ]
    estimate = found["students"][0]["reverse_kl"]
    assert found["students"][0]["kl"] is None
    assert estimate["value"] == pytest.approx(sum(terms) / len(terms), abs=1e-4)
    assert estimate["low"] < estimate["value"] < estimate["high"]
    assert estimate["n"] == 10
    assert known["students"][0]["reverse_kl"] is None
    assert not {"mean", "kl", "own_value"} & rows_of(tmp_path / "served")[0].keys()


def test_a_kill_and_a_server_that_is_gone_lose_and_repeat_nothing(tmp_path, inputs, model, monkeypatch):
    monkeypatch.setattr("ketchup.models.teacher.PATIENCE", Patience(attempts=3, first_wait=0.01))
    whole = FakeTeacher(model)
    with whole.running() as url:
        assert invoke(tmp_path / "whole", inputs, "evaluate", *behind(url)).exit_code == 0
    folder = tmp_path / "broken"
    folder.mkdir()
    with FakeTeacher(model).running() as url:  # it goes on answering the dead
        given = words(folder, inputs, "evaluate", *behind(url))
        killed = ketchup(folder, *given, kill=Kill("ketchup.models.served.answers.Answers.add", 6))
    assert killed.code == -9
    (answers,) = folder.glob("runs/run/**/answers-*.jsonl")
    kept = len(read_jsonl(answers)[0])
    assert kept == 6
    fake = FakeTeacher(model)
    fake.fault = lambda tokens, count: (None, {}) if len(fake.rollouts_asked) >= 9 else None
    with fake.running() as url:
        gone = invoke(folder, inputs, "evaluate", *behind(url))
    assert gone.exit_code == 1
    assert re.search(r"answers no more .*is kept: start it and run the same command again", gone.stderr)
    assert len(fake.rollouts_asked) == 9
    fake.fault = lambda tokens, count: None
    with fake.running() as url:
        done = invoke(folder, inputs, "evaluate", *behind(url))
    assert done.exit_code == 0, done.output
    outputs = [(place / "runs/run/predictions/test.jsonl").read_bytes() for place in (folder, tmp_path / "whole")]
    assert outputs[0] == outputs[1]
    assert set(fake.rollouts_asked.values()) == {1}
    assert kept + len(fake.rollouts_asked) == len(whole.rollouts_asked)


@pytest.mark.parametrize("method", [["llmr"], ["ketchup", "--k", 2], ["reinforce", "--estimator", "soft"]])
def test_training_takes_the_steps_of_the_local_teacher(tmp_path, inputs, model, method):
    fake = FakeTeacher(model)
    given = [*method, "--samples-per-input", 2, "--baseline", "leave-one-out"]
    with fake.running() as url:
        done = trained(tmp_path / "served", inputs, *given, *behind(url))
        again = trained(tmp_path / "served", inputs, *given, *behind(url))
    assert (done.exit_code, again.exit_code) == (0, 0), done.output
    assert set(fake.rollouts_asked.values()) == {1}
    assert trained(tmp_path / "local", inputs, *given, *here(inputs), "--gauge", "logprob").exit_code == 0
    found, known = (read_jsonl(tmp_path / x / "runs/run/metrics.jsonl")[0] for x in ("served", "local"))
    assert len(found) == len(known) == 3
    for one, other in zip(found, known, strict=True):
        assert "validation_kl" not in one
        assert one["validation_reverse_kl"] is not None if "validation_kl" in other else True
        for name in ("loss", "return_estimate", "reverse_kl", "entropy", "gradient_norm"):
            if name in other:
                assert one[name] == pytest.approx(other[name], abs=1e-3, rel=1e-3), name


def trained(folder, inputs, *more):
    given = ["train", *more, "--steps", 2, "--batch-size", 4, "--lr", 0.01, "--student", inputs / "student"]
    given += ["--task", "gsm8k", "--data", inputs / "data", "--name", "run", "--runs-dir", folder / "runs"]
    given += ["--threads", 1, "--max-new-tokens", 6, "--device", "cpu"]
    return CliRunner().invoke(app, [str(word) for word in given])


def test_the_return_of_outputs_is_that_under_the_local_teacher_in_its_gauge(tmp_path, inputs, model):
    with FakeTeacher(model).running() as url:
        done = invoke(tmp_path / "served", inputs, "evaluate", *behind(url), "--json")
    assert done.exit_code == 0, done.output
    assert re.search(rf"return\|teacher:served as {NAME}\|gauge:logprob\|", done.stdout)
    assert invoke(tmp_path / "here", inputs, "evaluate", *here(inputs)).exit_code == 0
    served, local = (
        {row["id"]: row["return"] for row in read_jsonl(tmp_path / place / "runs/run/predictions/test.jsonl")[0]}
        for place in ("served", "here")
    )
    assert len(served) == 40
    task = task_named("gsm8k")
    for one in load_inputs(task, "test", inputs / "data", None):
        prompt = prompt_ids(model, task, one, default_style(model))
        # G_0 = v_0 + Σ A_t: the gauges differ by the first state's logsumexp
        apart = float(tiny.next_logits(model, prompt, []).detach().logsumexp(-1))
        assert local[one.id] - served[one.id] == pytest.approx(apart, abs=1e-4)


@pytest.mark.parametrize(
    ("command", "more", "said"),
    [
        ("variance", ["--gauge", "raw"], "--gauge raw is of the teacher's logits"),
        ("variance", ["--gauge", "centered"], "--gauge centered is of the teacher's logits"),
        ("variance", ["--estimator", "expected-future"], "Expected-future needs the teacher's whole vocabulary"),
        ("variance", ["--estimator", "all-action:1"], "All-action:1 needs the teacher's whole vocabulary"),
        ("variance", ["--gradient", "--baseline", "own-value"], "The baseline own-value needs the teacher's whole"),
        ("variance", ["--teacher-dtype", "bfloat16"], "--teacher-dtype is of a teacher that is loaded here"),
        ("evaluate", ["--teacher-memory", "1"], "--teacher-memory is of a teacher that is loaded here"),
        ("train", ["--gauge", "raw"], "--gauge raw is of the teacher's logits"),
        ("train", ["--baseline", "own-value"], "The baseline own-value needs the teacher's whole vocabulary"),
        ("variance", ["--serve", "x"], "--serve starts a server of the teacher that it names; leave out --teacher-url"),
        ("train", ["--serve", "x"], "--serve starts a server of the teacher that it names; leave out --teacher-url"),
        ("evaluate", ["--serve-options", "x"], "--serve-options is for the server that --serve starts"),
        ("variance", ["--serve-python", "x"], "--serve-python is for the server that --serve starts"),
    ],
)
def test_what_cannot_be_had_is_refused_at_once(tmp_path, inputs, command, more, said):
    done = invoke(tmp_path, inputs, command, *behind("http://127.0.0.1:9/v1"), *more)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["kl", "js", "tvd", "rkl", "gkd"])
def test_methods_that_compare_whole_vocabularies_are_refused(tmp_path, inputs, method):
    done = trained(tmp_path, inputs, method, *behind("http://127.0.0.1:9/v1"))
    assert done.exit_code == 2, done.output
    assert f"The method '{method}' needs" in done.stderr


def test_a_method_that_learns_from_what_the_teacher_writes_is_refused_with_the_way_out(tmp_path, inputs):
    done = trained(tmp_path, inputs, "seqkd", *behind("http://127.0.0.1:9/v1"))
    assert done.exit_code == 2, done.output
    assert "The method 'seqkd' learns from outputs that the teacher writes, and a server is only" in done.stderr
    assert "use the method sft with --data." in done.stderr


@pytest.mark.parametrize("command", MODELS)
@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["--teacher", NAME, "--teacher-url", "localhost:8000"], 2, "give --teacher-url one such as"),
        (["--teacher", NAME, "--teacher-url", "http://127.0.0.1:9/v1"], 1, "cannot be reached"),
        (["--teacher-url", "http://127.0.0.1:9/v1"], 2, "--teacher"),
    ],
)
def test_where_no_teacher_is(tmp_path, inputs, command, given, code, said):
    done = invoke(tmp_path, inputs, command, *given)
    assert done.exit_code == code, done.output
    assert said in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error")]) == 1


@pytest.mark.parametrize("command", MODELS)
def test_an_encoder_decoder_student_is_refused(tmp_path, inputs, command):
    done = invoke(tmp_path, inputs, command, *behind("http://127.0.0.1:9/v1"), student="t5")
    assert done.exit_code == 1, done.output
    assert "reads the tokens of decoder-only ones" in done.stderr


def test_a_rollout_that_the_server_has_no_room_for_is_said_before_work(tmp_path, inputs, model):
    fake = FakeTeacher(model)
    with fake.running() as url:
        done = invoke(tmp_path, inputs, "variance", *behind(url), "--max-new-tokens", 400)
    assert done.exit_code == 1, done.output
    assert re.search(r"leaves no room for 400 more in '[^']*' \(51[12] at most\); lower --max-new-tokens", done.stderr)
    assert not fake.rollouts_asked


def test_two_processes_share_a_teacher_behind_a_server(tmp_path, inputs, model):
    """The same bytes as of one process, and no rollout asked about twice."""
    stored, asked = {}, {}
    for processes in (1, 2):
        fake = FakeTeacher(model)
        folder = tmp_path / str(processes)
        folder.mkdir()
        with fake.running() as url:
            given = words(folder, inputs, "variance", *behind(url), "--samples", 128, "--limit", 5)
            done = together(folder, *[given] * processes)
        assert {run.code for run in done} == {0}, [run.stderr for run in done]
        stored[processes] = {part.name: part.read_bytes() for part in folder.rglob("part-*.parquet")}
        asked[processes] = fake.rollouts_asked
    assert len(stored[1]) == 3
    assert stored[2] == stored[1]
    assert asked[2].keys() == asked[1].keys()


def test_two_processes_train_on_a_teacher_behind_a_server(tmp_path, inputs, model):
    """Two processes of a batch each take the steps of one that has two: greedy rollouts do not depend on who draws."""
    rows = {}
    for processes, accumulation in ((1, 2), (2, 1)):
        folder = tmp_path / str(processes)
        folder.mkdir()
        with FakeTeacher(model).running() as url:
            given = words(folder, inputs, "train", *behind(url), "--temperature", 0, "--accumulation", accumulation)
            done = ketchup(folder, *given, "--processes", processes, seconds=200)
        assert done.code == 0, done.stderr
        assert done.stdout == f"{(folder / 'runs/run/checkpoints/step-000002').resolve()}\n"
        rows[processes] = read_jsonl(folder / "runs/run/metrics.jsonl")[0]
    for alone, both in zip(rows[1], rows[2], strict=True):
        assert alone.keys() == both.keys()
        for name in alone.keys() - {"seconds", "crc32"}:
            assert both[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-5), name


def test_a_run_of_a_local_teacher_is_another_one_and_another_address_is_not(tmp_path, inputs, model):
    for kind in ("local", "served"):
        with FakeTeacher(model).running() as url:
            given = here(inputs) if kind == "local" else behind(url)
            assert invoke(tmp_path / kind, inputs, "evaluate", *given, "--limit", 2).exit_code == 0
        with FakeTeacher(model).running() as url:
            done = invoke(tmp_path / kind, inputs, "evaluate", *behind(url), "--limit", 3)
        assert done.exit_code == (1 if kind == "local" else 0), done.output
        assert ("teacher_dtype" in done.stderr) == (kind == "local")
