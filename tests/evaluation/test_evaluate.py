"""`evaluate` and `compare` from end to end: tiny models, kills, files of any system, and what is refused."""

import io
import json
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from ketchup.files import read_jsonl, read_kept_json, write_jsonl, write_kept_json
from ketchup.runs import Run
from ketchup_eval import scores_file
from ketchup_eval.cli import app
from ketchup_eval.evaluation import segments
from ketchup_eval.evaluation.segments import keep_statistics, segment_statistics
from ketchup_eval.metrics import METRICS
from ketchup_eval.predictions import read_predictions
from ketchup_eval.scores_file import read_scores
from tests import tiny
from tests.commands import Kill, ketchup
from tests.metrics.given import items

ROWS = 150


def write_gold(folder, count=ROWS):
    """GSM8K rows in the tiny words whose references state answers."""
    folder.mkdir(exist_ok=True)
    rows = [{"question": "abcd"[: 1 + index % 4], "answer": f"a #### {index % 3}"} for index in range(count)]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_gold(folder / "data")
    tiny.save("t5", folder / "teacher", seed=1)
    tiny.save("t5", folder / "student", seed=2)
    return folder


def arguments(inputs):
    given = ["evaluate", inputs / "student", "--task", "gsm8k", "--data", inputs / "data", "--teacher"]
    return [*given, inputs / "teacher", "--max-new-tokens", 6, "--threads", 1, "--resamples", 50, "--name", "tiny"]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, inputs):
    folder = tmp_path_factory.mktemp("unbroken")
    done = ketchup(folder, *arguments(inputs), "--correlate")
    assert done.code == 0, done.stderr
    return folder / "runs/tiny"


def test_a_run_leaves_outputs_scores_and_a_figure(unbroken):
    rows = read_predictions(unbroken / "predictions/test.jsonl")
    assert len(rows) == ROWS
    assert all(None not in (row.tokens, row.ended, row.mean_return) for row in rows)
    scores = json.loads((unbroken / "scores.json").read_text())["splits"]["test"]["scores"]
    assert scores["return"]["value"] == pytest.approx(sum(row.mean_return for row in rows) / ROWS)
    assert scores["truncated"]["value"] == pytest.approx(100 * sum(not row.ended for row in rows) / ROWS)
    lengths = {row.tokens for row in rows}
    for name, score in scores.items():
        assert score["n"] == ROWS
        if name == "length" and len(lengths) == 1:
            assert score["low"] is score["high"] is None  # outputs of one length do not say how far others would stray
        else:
            assert score["low"] <= score["value"] <= score["high"]
        assert score["signature"]
    assert (unbroken / "correlation-test.png").stat().st_size > 0


def test_the_return_is_that_of_the_exact_sum(unbroken, inputs):
    """One output's return once more, from full logits: v_0 + Σ (q - v)."""
    import torch

    from ketchup.models.loading import load
    from ketchup.models.prompts import prompt_ids
    from ketchup.tasks import task_named
    from ketchup.tasks.rows import load_inputs

    teacher, student = load(str(inputs / "teacher")), load(str(inputs / "student"))
    one = load_inputs(task_named("gsm8k"), "test", inputs / "data", 1)[0]
    prompt = torch.tensor([prompt_ids(student, task_named("gsm8k"), one, "source")])
    written = student.network.generate(prompt, max_new_tokens=6, do_sample=False)[0, 1:]
    with torch.no_grad():
        before = torch.cat([torch.tensor([teacher.start_id]), written])[None, :-1]
        logits = teacher.network(input_ids=prompt, decoder_input_ids=before).logits[0, :, : teacher.vocabulary]
    q, v = logits.gather(1, written[:, None])[:, 0], logits.max(dim=1).values
    row = next(row for row in read_predictions(unbroken / "predictions/test.jsonl") if row.id == one.id)
    assert row.tokens == len(written)
    assert row.mean_return == pytest.approx(float(v[0] + (q - v).sum()), abs=1e-3)


@pytest.mark.parametrize(
    ("write", "when", "blocks"), [(2, "before", 1), (2, "after", 2), (4, "before", 3), (4, "after", 3)]
)
def test_a_killed_evaluation_goes_on(tmp_path, inputs, unbroken, write, when, blocks):
    """150 inputs are three blocks, which become one file in the fourth write."""
    kill = Kill("ketchup.rollouts.lines.write_jsonl", call=write, when=when)
    assert ketchup(tmp_path, *arguments(inputs), kill=kill).code == -9
    folder = tmp_path / "runs/tiny/predictions"
    assert any(folder.rglob("*.jsonl"))
    # one draw too many, for a block that is there, would kill the second run too
    done = ketchup(tmp_path, *arguments(inputs), kill=Kill("ketchup.rollouts.fill.sample", 3 - blocks + 1, "before"))
    assert done.code == 0, done.stderr
    assert (folder / "test.jsonl").read_bytes() == (unbroken / "predictions/test.jsonl").read_bytes()
    assert [file.name for file in folder.rglob("*.jsonl")] == ["test.jsonl"]


def test_other_settings_or_rows_are_refused(tmp_path, inputs, unbroken):
    runs = ["--runs-dir", unbroken.parent]
    done = ketchup(tmp_path, *arguments(inputs), *runs, "--max-new-tokens", 5)
    assert done.code == 1
    assert "max_new_tokens" in done.stderr
    write_gold(tmp_path / "data")
    text = (tmp_path / "data/test.jsonl").read_text().replace('"a"', '"b"', 1)
    (tmp_path / "data/test.jsonl").write_text(text)
    done = ketchup(tmp_path, *arguments(inputs), *runs, "--data", tmp_path / "data")
    assert done.code == 1
    assert "has other text by now" in done.stderr


# Files of any system


def invoke(folder, *words):
    return CliRunner().invoke(app, [str(word) for word in [*words, "--runs-dir", folder / "runs"]])


def write_translations(folder, count=40):
    (folder / "data").mkdir(exist_ok=True)
    rows = [{"translation": {"en": f"dog {i}", "nl": f"de hond {i} loopt hier"}} for i in range(count)]
    (folder / "data/test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in (("good", "de hond {} loopt hier"), ("bad", "het huis {} is hier")):
        write_outputs(folder / f"{name}.jsonl", [text.format(i if i % 3 else "x") for i in range(count)])
    return ["--task", "europarl", "--data", folder / "data"]


def write_outputs(path, texts):
    rows = [{"id": f"europarl-test-{i}", "prediction": text} for i, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_file_is_scored_without_torch(tmp_path):
    given = write_translations(tmp_path)
    words = ["evaluate", "--predictions", tmp_path / "good.jsonl", *given, "--runs-dir", tmp_path / "runs", "--json"]
    script = (
        f"import sys\nsys.argv = {['ketchup', *map(str, words)]!r}\n"
        "from ketchup_eval.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (content,) = json.loads(done.stdout).values()
    assert content["scores"]["bleu"]["signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp")
    assert content["n"] == 40


def test_plain_lines_go_with_references(tmp_path):
    (tmp_path / "out.txt").write_text("a b c d\nx\n")
    (tmp_path / "ref.txt").write_text("a b c d\nx\n")
    given = ["evaluate", "--predictions", tmp_path / "out.txt", "--task", "europarl"]
    done = invoke(tmp_path, *given, "--references", tmp_path / "ref.txt", "--latex")
    assert done.exit_code == 0, done.output
    assert r"\begin{tabular}{lrrrr}" in done.stdout
    assert "100.00" in done.stdout
    (tmp_path / "ref.txt").write_text("a b c d\n")
    done = invoke(tmp_path, *given, "--references", tmp_path / "ref.txt")
    assert done.exit_code == 1
    assert "out.txt has 2 lines for 1 inputs; write one line per input" in done.stderr


def test_one_item_has_no_interval(tmp_path):
    given = write_translations(tmp_path, count=1)
    done = invoke(tmp_path, "evaluate", "--predictions", tmp_path / "good.jsonl", *given, "--json")
    (content,) = json.loads(done.stdout).values()
    for score in content["scores"].values():
        assert (score["low"], score["high"], score["n"]) == (None, None, 1)
    invoke(tmp_path, "evaluate", "--predictions", tmp_path / "bad.jsonl", *given)
    done = invoke(tmp_path, "compare", "--a", "good", "--b", "bad", *given, "--json")
    assert done.exit_code == 0, done.output
    assert all(row["p"] is None for row in json.loads(done.stdout)["comparisons"])


def test_workers_change_nothing(monkeypatch):
    shown = []

    @contextmanager
    def counting(name, *, total, unit):
        shown.append([total, 0])
        yield SimpleNamespace(advance=lambda amount, note: shown[-1].__setitem__(1, shown[-1][1] + amount))

    monkeypatch.setattr(segments, "progress", counting)
    texts, references = ["de hond loopt", "een huis ."] * 260, ["de hond", "het huis ."] * 260
    metrics = [METRICS["bleu"], METRICS["ter"]]
    one, two = (segment_statistics(metrics, items(texts, references), workers) for workers in (1, 2))
    assert all((one[name] == two[name]).all() for name in one)
    assert one["ter"].shape == (520, 2)
    assert shown == [[1040, 1040]] * 2  # two metrics of 520 segments, and not of whole pieces of 250


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (["--metrics", "blue"], 2, 'no metric "blue": did you mean "bleu"'),
        (["--metrics", "accuracy"], 2, "does not fit europarl"),
        (["--references", "x"], 2, "give one of them"),
        (["--limit", "39"], 1, "0 missing, 1 extra"),
        (["--resamples", "0"], 2, "--resamples must be at least 20"),
        (["--workers", "0"], 2, "--workers must be at least 1"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, change, code, message):
    given = write_translations(tmp_path)
    done = invoke(tmp_path, "evaluate", "--predictions", tmp_path / "good.jsonl", *given, *change)
    assert done.exit_code == code, done.output
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_nothing_to_evaluate_is_a_usage_error(tmp_path):
    assert invoke(tmp_path, "evaluate").exit_code == 2
    assert invoke(tmp_path, "evaluate", "a", "--predictions", "b.jsonl").exit_code == 2


# Comparisons


@pytest.fixture
def evaluated(tmp_path):
    given = write_translations(tmp_path)
    for name in ("good", "bad"):
        assert invoke(tmp_path, "evaluate", "--predictions", tmp_path / f"{name}.jsonl", *given).exit_code == 0
    return tmp_path


def test_a_comparison_finds_what_differs(evaluated):
    done = invoke(evaluated, "compare", "--a", "bad", "--b", "good", "--json")
    assert done.exit_code == 0, done.output
    rows = {row["score"]: row for row in json.loads(done.stdout)["comparisons"]}
    assert rows.keys() == {"bleu", "chrf", "ter"}
    assert rows["bleu"]["difference"]["low"] > 0 > rows["ter"]["difference"]["value"]
    assert rows["ter"]["difference"]["low"] is None  # every item gains the same
    for row in rows.values():
        assert row["test"] == "approximate randomisation"
        assert row["p"] == pytest.approx(1 / 10_001)
        assert row["holm"] == pytest.approx(3 / 10_001)
        assert (row["improved"], row["tied"], row["worsened"]) == (40, 0, 0)


def test_statistics_that_an_evaluation_kept_are_not_computed_again(evaluated, monkeypatch):
    def computed_by_a_comparison():
        names = []
        compute = segments._computed
        with monkeypatch.context() as patched:
            note = lambda metrics, *rest: names.extend(m.name for m in metrics) or compute(metrics, *rest)  # noqa: E731
            patched.setattr(segments, "_computed", note)
            done = invoke(evaluated, "compare", "--a", "good", "--b", "bad", "--json")
        assert done.exit_code == 0, done.output
        return names, done.stdout

    names, before = computed_by_a_comparison()
    assert names == []
    (evaluated / "runs/good/segments/test/bleu.npz").write_bytes(b"")
    (evaluated / "runs/bad/segments/test/ter.npz").unlink()
    assert computed_by_a_comparison() == (["bleu", "ter"], before)
    path = evaluated / "runs/good/predictions/test.jsonl"
    rows, _ = read_jsonl(path)
    write_jsonl(path, [{**row, "prediction": row["prediction"].replace("hond 1 ", "kat 1 ")} for row in rows])
    assert computed_by_a_comparison()[0] == ["bleu", "chrf", "ter", "ter"]


def test_a_flipped_bit_in_kept_statistics_changes_nothing(tmp_path):
    """They are computed again."""
    metric, scored = METRICS["bleu"], items(["de hond loopt", "een kat"], ["de hond rent", "een kat"])
    right = segment_statistics([metric], scored)
    keep_statistics(right, [metric], scored, tmp_path)
    file = tmp_path / "bleu.npz"
    content = file.read_bytes()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(segments, "_computed", lambda *_: pytest.fail("they are kept"))
        assert np.array_equal(segment_statistics([metric], scored, 1, tmp_path)["bleu"], right["bleu"])
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        file.write_bytes(damaged)
        assert np.array_equal(segment_statistics([metric], scored, 1, tmp_path)["bleu"], right["bleu"])
    # A flip in an array's header may cut it, and the rest, with the zip file's own checksum at its end, is not read.
    with np.load(io.BytesIO(content)) as kept:
        np.savez(file, key=kept["key"], sum=kept["sum"], statistics=kept["statistics"][:1])
    assert np.array_equal(segment_statistics([metric], scored, 1, tmp_path)["bleu"], right["bleu"])


def test_a_run_and_itself_under_another_name_are_equal(evaluated):
    (evaluated / "same.jsonl").write_text((evaluated / "good.jsonl").read_text())
    done = invoke(evaluated, "compare", "--a", "good", "--b", evaluated / "same.jsonl", "--json")
    for row in json.loads(done.stdout)["comparisons"]:
        assert (row["p"], row["difference"]["value"], row["tied"]) == (1.0, 0.0, 40)


def test_shares_that_do_not_differ_have_an_interval_all_the_same(tmp_path):
    given = ["--task", "gsm8k", "--data", write_gold(tmp_path / "data", 30)]
    for name, answer in (("one", "#### 0"), ("two", "so #### 0")):
        rows = [{"id": f"gsm8k-test-{i}", "prediction": answer} for i in range(30)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        done = invoke(tmp_path, "evaluate", "--predictions", tmp_path / f"{name}.jsonl", *given)
        assert done.exit_code == 0, done.output
    rows = json.loads(invoke(tmp_path, "compare", "--a", "one", "--b", "two", "--json").stdout)["comparisons"]
    accuracy = next(row for row in rows if row["score"] == "accuracy")
    assert (accuracy["value_a"], accuracy["difference"]["value"], accuracy["p"]) == (pytest.approx(100 / 3), 0, 1)
    assert accuracy["difference"]["low"] < -5 < 5 < accuracy["difference"]["high"]
    assert accuracy["detectable"] is None


def test_seeds_of_a_method_are_taken_together(evaluated):
    write_outputs(evaluated / "good-2.jsonl", [f"de hond {i} loopt" for i in range(40)])
    words = ["compare", "--a", "good", evaluated / "good-2.jsonl", "--b", "bad", "--json"]
    (row, *_) = json.loads(invoke(evaluated, *words).stdout)["comparisons"]
    assert row["test"] == "t over runs and inputs"
    assert row["difference"]["low"] < row["difference"]["value"] < row["difference"]["high"]
    assert (row["a"], row["b"]) == ("good good-2.jsonl", "bad")
    assert "as the other method's runs do" in " ".join(invoke(evaluated, *words[:-1]).stdout.split())
    two = json.loads(invoke(evaluated, "compare", "--a", "bad", "--b", *words[2:4], "--json").stdout)["comparisons"]
    assert row["value_a"] == pytest.approx((two[0]["value_b"] + two[3]["value_b"]) / 2)


def test_two_evaluations_at_once_keep_the_scores_of_both_splits(evaluated, monkeypatch):
    """Each reads the file, adds its split and writes: the second must not read before the first has written."""
    run = Run(evaluated / "runs/good")
    scores = {"bleu": {"value": 1.0, "signature": "s"}}
    about = {"task": "gsm8k", "n": 1, "references_fingerprint": "r", "scores": scores}
    both_read = threading.Barrier(2)

    def slow_read(place):
        splits = read_scores(place)
        with suppress(threading.BrokenBarrierError):
            both_read.wait(timeout=0.5)  # both come here at once only if nothing keeps them apart
        return splits

    monkeypatch.setattr(scores_file, "read_scores", slow_read)
    writers = [threading.Thread(target=scores_file.write_split, args=[run, s, about]) for s in ("train", "other")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert set(read_scores(run.scores)) == {"test", "train", "other"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"splits": None}, '"splits" is null'),
        ({"splits": {"test": []}}, "it is []"),
        ({"n": True}, '"n" is true'),
        ({"scores": []}, '"scores" is []'),
        ({"references": 3}, '"references" is 3'),
        ({"scores": {"bleu": {"value": "1", "signature": ""}}}, '"value" is "1"'),
        ({"scores": {"bleu": {"value": 1}}}, '"signature" is null'),
    ],
)
def test_scores_of_another_shape_are_named(evaluated, change, named):
    path = evaluated / "runs/bad/scores.json"
    content = read_kept_json(path, "")
    if "splits" in change:
        content |= change
    else:
        content["splits"]["test"] |= change
    path.write_text(json.dumps(content))
    done = invoke(evaluated, "compare", "--a", "good", "--b", "bad")
    assert done.exit_code == 1
    assert f"bad/scores.json is damaged, as {named}; delete it and run" in done.stderr


def test_unlike_things_are_refused_unless_allowed(evaluated):
    path = evaluated / "runs/bad/scores.json"
    content = read_kept_json(path, "")
    write_kept_json(path, json.loads(json.dumps(content).replace("tok:13a", "tok:intl")))
    done = invoke(evaluated, "compare", "--a", "good", "--b", "bad")
    assert done.exit_code == 1
    assert "signature of bleu" in done.stderr
    done = invoke(evaluated, "compare", "--a", "good", "--b", "bad", "--allow-different")
    assert done.exit_code == 0
    assert "compared although different: signature of bleu" in done.stdout


def test_missing_and_extra_ids_are_counted(evaluated):
    rows = (evaluated / "bad.jsonl").read_text().splitlines(keepends=True)
    (evaluated / "few.jsonl").write_text("".join(rows[2:]) + '{"id": "other", "prediction": "a"}\n')
    done = invoke(evaluated, "compare", "--a", "good", "--b", evaluated / "few.jsonl")
    assert done.exit_code == 1
    assert '2 missing ("europarl-test-0", "europarl-test-1"), 1 extra ("other" at line 39)' in done.stderr
    done = invoke(evaluated, "compare", "--a", "good", "--b", "nothing")
    assert "run `ketchup evaluate nothing --split test` first" in done.stderr
