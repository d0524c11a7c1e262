"""What a plan says wrongly is told in one sentence, with the fix, before anything runs: whatever command it is for."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ketchup_eval.cli import app
from tests.study.plans import PLAN, plan_file

TASK = "[tasks.demo]"
JUDGED = '[judge]\n{}\n[tasks.demo]\ntask = "xsum"'


def refused(folder: Path, *words: str) -> str:
    """The one line that a dry run says of a plan that is refused."""
    result = CliRunner().invoke(app, ["study", *words, "--runs-dir", str(folder / "runs"), "--dry-run"])
    assert result.exit_code in (1, 2), result.output
    (line,) = result.output.strip().splitlines()
    assert "Unexpected" not in line
    assert not (folder / "runs").exists()
    return line


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        # options of each command, out of range
        ("k = 4", "k = -4", "made-demo-k4-s0 would be no command: --k must be at least 1, not -4"),
        ("k = [1, 4]", "k = [0]", "variance-made-demo would be no command: --k must be at least 1, not 0"),
        ("k = [1, 4]", "samples = 1", "--samples must be at least 2"),
        ("k = [1, 4]", 'estimator = ["shrnk:0.5"]', "variance-made-demo would be no command: There is no"),
        ("limit = 8", "limit = 0", "would be no command: --limit must be at least 1, not 0"),
        ("limit = 8", "resamples = 3", "would be no command: --resamples must be at least 20"),
        ("[compare]", "[compare]\ntrials = 0", "compare-made-demo-k4 would be no command: --trials must be at least 1"),
        ("layers = 1", "layers = 0", "init-made-demo would be no command: --layers must be at least 1, not 0"),
        ("layers = 1", "layers = 1\ndecoder_layers = -1", "--decoder-layers must be at least 1, not -1"),
        (TASK, JUDGED.format("concurrency = 0"), "judge-made-demo would be no command: --concurrency must be at least"),
        (TASK, JUDGED.format("limit = -1"), "judge-made-demo would be no command: --limit must be at least 1, not -1"),
        (TASK, JUDGED.format('base_url = "nowhere"'), "judge-made-demo would be no command: "),
        (TASK, JUDGED.format('criteria = ["overal"]'), "[judge] cannot judge demo: There is no criterion 'overal'"),
        # names that nothing has
        ("batch_size = 4", 'device = "gpu"', "--device must be auto, cpu, cuda or cuda:N, not 'gpu'"),
        ("batch_size = 4", 'track = ["tensorbord"]', "--track knows tensorboard, wandb, trackio, not tensorbord"),
        ("limit = 8", 'metrics = ["blue"]', 'There is no metric "blue": did you mean "bleu"'),
        ("limit = 8", 'metrics = ["bleu"]', 'The metric "bleu" does not fit demo'),
        ("[compare]", '[compare]\nmetrics = ["acuracy"]', 'There is no metric "acuracy": did you mean "accuracy"'),
        (TASK, "[tasks.dem]", '[tasks.dem]: there is no task "dem": did you mean "demo"'),
        (TASK, f'{TASK}\ntask = "nowhere.toml"', "nowhere.toml"),
        (TASK, f'{TASK}\ndata = "nowhere"', "its rows should be in nowhere, which is no folder"),
        ("[compare]", "[comparison]", 'the unknown key "comparison"; the nearest known is "compare"'),
        ('method = "seqkd"', 'method = "seqd"', "There is no method 'seqd'"),
        # values of another shape
        ("k = 4", "k = []", "[methods.k4] has k = an empty list; write a value"),
        ("k = 4", "k = { a = 1 }", "[methods.k4] has k = {'a': 1}; write a value"),
        ("k = 4", "k = true", "made-demo-k4-s0 would be no command: --k needs a value; write one in place of true"),
        ("k = [1, 4]", "gradient = 1", "--gradient is a flag; write true in place of 1"),
        ("limit = 8", "limit = true", "--limit needs a value"),
        ("batch_size = 4", "batch_size = 4\nbatch-size = 5", "has batch_size and batch-size, which are one option"),
        # what a plan says elsewhere
        ("batch_size = 4", 'student = "x"', "[train] has student; leave it out, as other tables of the plan say it"),
        ("batch_size = 4", "dry_run = true", "[train] has dry_run; leave it out"),
        ("k = 4", "k = 4\nseed = 3", "[methods.k4] has a seed; leave it out, as `seeds` of the plan"),
        # twice
        (
            "[methods.k4]",
            '[methods.same]\nmethod = "ketchup"\nk = 4\ntail = "one-step"\n[methods.k4]',
            "[methods.same] and [methods.k4] are the same method twice, as one writes out what the other has by",
        ),
        (
            "[students.far]",
            '[students.again]\nmodel = "demo-student-3"\n[students.far]',
            "[students.again] and [students.far] are the same student twice",
        ),
        # names and lists
        ("[students.far]", "[students.-far]", "[students.-far] is no name"),
        ("[students.far]", '[students."a/b"]', "[students.a/b] is no name"),
        (TASK, '[tasks."dé"]', "[tasks.dé] is no name"),
        ("seeds = [7]", "tasks = []", "[students.far] has an empty list `tasks`"),
        ("[compare]", "[compare]\nmethods = []", "[compare] has an empty list `methods`"),
        ("seeds = [7]", "seeds = [7, 7]", "[students.far] needs `seeds`, a list of different whole numbers"),
        ('name = "tiny"', 'name = ""', "the plan needs `name`, a text"),
        ('name = "tiny"', 'name = "a/b"', "A run cannot be called 'a/b'"),
        ("[compare]", "[compare]\n[tune]\nlearning_rate = [1e-5, 1.0000001e-5]", "has a learning rate twice"),
    ],
)
def test_a_mistake_is_named_before_anything_runs(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in PLAN
    line = refused(tmp_path, str(plan_file(tmp_path, PLAN.replace(old, new, 1))))
    assert words in line
    assert words == "nowhere.toml" or str(tmp_path / "plan.toml") in line  # a task's file is named in place of the plan


def test_an_evaluation_may_measure_no_return(tmp_path: Path) -> None:
    file = plan_file(tmp_path, PLAN.replace("limit = 8", 'limit = 8\nteacher = "none"'))
    result = CliRunner().invoke(app, ["study", str(file), "--runs-dir", str(tmp_path), "--print"])
    assert result.exit_code == 0, result.output
    assert "ketchup evaluate far-demo-k4-s7 --limit 8 --teacher none --runs-dir" in result.output


def test_a_reference_alone_has_nothing_near(tmp_path: Path) -> None:
    text = PLAN.replace('[methods.k4]\nmethod = "ketchup"\nk = 4\n', "").replace(
        "[compare]", '[compare]\nmethods = ["x"]'
    )
    assert 'has the unknown methods "x"; there is none to name.' in refused(tmp_path, str(plan_file(tmp_path, text)))


PLANS = {
    "utf-16": PLAN.encode("utf-16"),
    "latin-1": (PLAN + "# ä\n").encode("latin-1"),
    "empty": b"",
    "json": b'{"name": "x"}',
    "yaml": b"name: x\nseeds:\n - 1\n",
    "a bare carriage return": PLAN.encode().replace(b"\n", b"\r"),
    "lists in lists": b"a = " + 3000 * b"[" + 3000 * b"]",
    "null": PLAN.encode() + b"\0",
}


@pytest.mark.parametrize("kind", PLANS)
def test_a_file_that_is_no_plan(tmp_path: Path, kind: str) -> None:
    (tmp_path / "plan.toml").write_bytes(PLANS[kind])
    assert str(tmp_path / "plan.toml") in refused(tmp_path, str(tmp_path / "plan.toml"))


@pytest.mark.parametrize("name", [".", "nothing.toml"])
def test_a_plan_that_is_not_there(tmp_path: Path, name: str) -> None:
    assert str(tmp_path / name) in refused(tmp_path, str(tmp_path / name))


@pytest.mark.parametrize("text", [b"\xef\xbb\xbf" + PLAN.encode(), PLAN.encode().replace(b"\n", b"\r\n")])
def test_marks_and_line_ends_of_other_systems_are_read(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "plan.toml").write_bytes(text)
    words = ["study", str(tmp_path / "plan.toml"), "--runs-dir", str(tmp_path), "--dry-run"]
    assert CliRunner().invoke(app, words).exit_code == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--only", "nothing"], '--only "nothing" is neither a result of the plan nor one of'),
        (["--until", "nothing"], '--until "nothing" is neither'),
        (["--jobs", "0"], "--jobs must be at least 1, not 0"),
        (["--drop", "1"], "--drop must be at most 0, not 1"),
        (["--node", "init-made-demo"], "--node and --dry-run are different things to do"),
        (["--print"], "--print and --dry-run are different things to do"),
        (["--data", "demo=nowhere"], "its rows should be in nowhere, which is no folder"),
    ],
)
def test_options_of_the_study_itself(tmp_path: Path, given: list[str], words: str) -> None:
    assert words in refused(tmp_path, str(plan_file(tmp_path)), *given)
