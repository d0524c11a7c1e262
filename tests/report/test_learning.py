"""`ketchup report`: which runs become one curve, what may not stand side by side, and files a reader can use."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ketchup.errors import RunError
from ketchup.files import write_jsonl
from ketchup.manifests import check_same_settings
from ketchup.runs import Run
from ketchup_eval.cli import app
from ketchup_eval.report.learning_curves import learning_curves

SETTINGS = {
    "task": "demo",
    "teacher": "demo-teacher",
    "data": None,
    "validation_limit": 200,
    "max_new_tokens": None,
    "learning_rate": 1e-4,
    "preset": None,
    "overridden": [],
}


def curves_of(folders):
    return learning_curves([Run(folder) for folder in folders])


def run(folder, name, method="llmr", seed=0, returns=(-5.0, -3.0, -1.0), options=None, **changes):
    path = folder / name
    given = {**SETTINGS, "method": method, "seed": seed, "options": options or {"baseline": "none"}, **changes}
    check_same_settings(path, given)
    rows = [{"step": step, "loss": 0.0} for step in range(10 * len(returns))]
    for row, value in zip(rows[::10], returns, strict=True):
        row |= {"validation_return": value, "validation_kl": 1.0}
    write_jsonl(path / "metrics.jsonl", rows)
    return path


def test_runs_that_differ_in_the_seed_alone_are_one_curve(tmp_path):
    runs = [
        run(tmp_path, "a", seed=0, returns=(-5, -3, -1)),
        run(tmp_path, "c", "ketchup", options={"k": 4, "baseline": "mean"}),
        run(tmp_path, "b", seed=1, returns=(-5, -1, -2, 7)),
    ]
    llmr, ketchup = curves_of(runs)
    assert (llmr.label, llmr.seeds) == ("llmr", (0, 1))
    assert (ketchup.label, ketchup.seeds) == ("ketchup K=4 + mean", (0,))
    assert {step: e.value for step, e in llmr.values["return"].items()} == {0: -5, 10: -2, 20: -1.5}  # steps of both
    assert llmr.last("return").n == 2
    assert ketchup.last("return").low is None
    assert ketchup.last("loss") is None


def test_labels_name_what_differs(tmp_path):
    runs = [run(tmp_path, "slow"), run(tmp_path, "fast", learning_rate=1e-3), run(tmp_path, "kl", "kl")]
    labels = [curve.label for curve in curves_of(runs)]
    assert labels == ["llmr, learning_rate 0.0001", "llmr, learning_rate 0.001", "kl"]


def test_unlike_runs_are_not_compared(tmp_path):
    runs = [run(tmp_path, "a"), run(tmp_path, "b", teacher="other")]
    with pytest.raises(RunError, match=r"differ in teacher \(demo-teacher and other\)"):
        curves_of(runs)
    with pytest.raises(RunError, match="seed 0 is there 2 times"):
        curves_of([run(tmp_path, "c"), run(tmp_path, "d")])
    empty = tmp_path / "empty"
    check_same_settings(empty, {**SETTINGS, "method": "kl", "seed": 0, "options": {}})
    with pytest.raises(RunError, match="no validation"):
        curves_of([empty])


def scored(run, accuracy, n=300, signature="profile:dpo-st"):
    about = {"n": n, "references_fingerprint": "abc", "scores": {}}
    about["scores"]["accuracy"] = {"value": accuracy, "low": 0, "high": 100, "n": n, "signature": signature}
    about["scores"]["length"] = {"value": 12.0, "low": 1, "high": 20, "n": n, "signature": "tokens"}
    (run / "scores.json").write_text(json.dumps({"schema": 1, "splits": {"test": about}}))
    return run


def test_scores_of_all_runs_of_a_setting_are_averaged(tmp_path):
    runs = [scored(run(tmp_path, "a", seed=0), 40.0), scored(run(tmp_path, "b", seed=1), 50.0)]
    half = [scored(run(tmp_path, "c", "kl", seed=0), 45.0), run(tmp_path, "d", "kl", seed=1)]
    llmr, kl = curves_of([*runs, *half])
    assert (llmr.scores["accuracy"].value, llmr.scores["accuracy"].n) == (45.0, 2)
    assert set(llmr.scores) == {"accuracy"}
    assert kl.scores == {}


@pytest.mark.parametrize("other", [{"n": 200}, {"signature": "profile:openai"}])
def test_unlike_scores_are_not_put_side_by_side(tmp_path, other):
    runs = [scored(run(tmp_path, "a"), 40.0), scored(run(tmp_path, "b", seed=1), 50.0, **other)]
    with pytest.raises(RunError, match="scored on other inputs or by other metrics"):
        curves_of(runs)


def test_the_command_writes_table_figure_and_json(tmp_path):
    run(tmp_path, "a", seed=0)
    run(tmp_path, "b", seed=1, returns=(-5, -2, 0))
    done = CliRunner().invoke(app, ["report", "a", "b", "--runs-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "llmr" in done.output
    assert "-0.5 [-6.85, 5.85]" in done.output  # t with one degree of freedom: 12.706 x 0.5
    for name in ("curves.png", "curves.pdf"):
        assert (tmp_path / "report" / name).stat().st_size > 1000
    content = json.loads((tmp_path / "report/curves.json").read_text())
    assert content["curves"][0]["validation"]["return"][-1]["n"] == 2
    again = CliRunner().invoke(app, ["report", "a", "b", "--runs-dir", str(tmp_path), "--json"])
    assert json.loads(again.output) == content
    missing = CliRunner().invoke(app, ["report", "nowhere", "--runs-dir", str(tmp_path)])
    assert missing.exit_code == 1
    assert "check the name" in missing.output


def test_lost_rows_are_reported(tmp_path, caplog):
    path = run(tmp_path, "a") / "metrics.jsonl"
    whole = curves_of([path.parent])[0].values
    assert caplog.text == ""
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3] + lines[4:7] + lines[9:]) + '{"step": 30, "lo')
    assert curves_of([path.parent])[0].values == whole
    assert f"{path}: a torn last line is dropped" in caplog.text
    assert f"{path}: the rows of step 3, 7-8 are lost" in caplog.text
    caplog.clear()
    (tmp_path / "a/last").symlink_to("checkpoints/step-000032")  # saved after its row was written
    curves_of([path.parent])
    assert f"{path}: the rows of step 3, 7-8, 30-32 are lost" in caplog.text


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("{}", '"step" is null'),
        ('{"step": "3"}', '"step" is "3"'),
        ('{"step": true}', '"step" is true'),
        ('{"step": 1.5}', '"step" is 1.5'),
        ('{"step": 30, "validation_kl": "low"}', '"validation_kl" is "low"'),
    ],
)
def test_a_row_that_is_none_of_a_step_is_named(tmp_path, row, named):
    path = run(tmp_path, "a") / "metrics.jsonl"
    path.write_text(path.read_text() + row + "\n")
    with pytest.raises(RunError, match=rf"{path} line 31 is no row of a step, as {named}; remove that line"):
        curves_of([path.parent])


@pytest.mark.parametrize("wrong", [{"method": None}, {"seed": "0"}, {"options": []}])
def test_a_run_that_is_none_of_training_is_named(tmp_path, wrong):
    check_same_settings(tmp_path, {"method": "llmr", "seed": 0, "options": {}, **wrong})
    with pytest.raises(
        RunError, match=rf'is no training run, as "{next(iter(wrong))}" is .* name runs of `ketchup train`'
    ):
        curves_of([tmp_path])


def test_it_needs_no_torch(tmp_path):
    run(tmp_path, "a")
    script = (
        "import sys\n"
        f"sys.argv = ['ketchup', 'report', 'a', '--runs-dir', {str(tmp_path)!r}]\n"
        "from ketchup_eval.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "sys.exit(', '.join({'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == ""
    assert "Written" in done.stdout
