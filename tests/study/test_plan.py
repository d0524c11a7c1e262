"""Plans are read strictly, and every error names the file and the fix."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ketchup.errors import UsageError
from ketchup_eval.cli import app
from ketchup_eval.study.reading import read_plan
from tests.study.plans import PLAN, plan_file


def test_a_plan_says_what_it_says(tmp_path: Path) -> None:
    plan = read_plan(plan_file(tmp_path))
    assert plan.name == "tiny"
    assert plan.measures == ("variance", "evaluate", "compare")
    assert plan.students["made"].of == "teacher"
    assert plan.students["made"].seeds == (0, 1)
    assert plan.students["far"].seeds == (7,)
    assert plan.methods["k4"].method == "ketchup"
    assert plan.methods["llmr"].method == "llmr"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "tiny"', 'nam = "tiny"', 'the unknown key "nam"; the nearest known is "name"'),
        ("layers = 1", "layer = 1", '[students.made] has the unknown key "layer"; the nearest known is "layers"'),
        ("layers = 1", "", "[students.made] needs a `model`, or how many `layers` of one"),
        ("layers = 1", 'layers = "1"', "[students.made] needs `layers`, a whole number; it has '1'"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "needs `seeds`, a list of different whole numbers"),
        ("seeds = [0, 1]", "seeds = [-1]", "seeds must be at least 0, not -1"),
        (
            'reference = "llmr"',
            'reference = "llm"',
            'the unknown reference "llm"; the nearest known is "llmr"',
        ),
        ('reference = "llmr"', "", "[compare] needs a `reference`"),
        ("[methods.llmr]", "[methods.llmr]\n[methods.again]\nmethod = 'llmr'", "are the same method twice"),
        ("[methods.llmr]", "[methods.llmr]\n[methods.llmr]", "is no TOML"),
        ("layers = 1", 'layers = 1\nof = "made"', "a student is made of itself (made of made)"),
        ('model = "demo-student-3"', 'layers = 1\nof = "made"\n', ""),
        ("[tasks.demo]", "[tasks]", "has no [tasks.NAME]"),
        ("[tasks.demo]", "[tasks]\ndemo = 3", "write a table [tasks.demo]"),
        ("[tasks.demo]", '[tasks."a b"]', "is no name"),
        ("[compare]", "[judge]", "[judge] cannot judge demo: The judge has no criteria for 'reasoning' tasks"),
        (
            "[compare]",
            '[compare]\nmethods = ["kl"]',
            'the unknown methods "kl"; the nearest known is "k4"',
        ),
        ('model = "demo-teacher"', 'model = "demo-teacher"\ntuned = ["demo"]', "has `tuned` without a table `train`"),
        ('model = "demo-teacher"', 'model = "x"\nnew = {}', "needs a `model`, or the options of a `new` one"),
        ('model = "demo-teacher"', "", "needs a `model`, or the options of a `new` one"),
        ('model = "demo-teacher"', "new = { layers = 3 }", "is new and not trained on demo, where made learns from it"),
        ('reference = "llmr"', 'reference = "llmr"\ndrop = ["llmr"]', "`drop` has llmr, the reference of [compare]"),
        ("[compare]", "[compare]\n[tune]\nlearning_rate = [1e-5]", "a list of two or more numbers"),
        ("[compare]", "[compare]\n[tune]\nlearning_rate = [1e-5, 1e-5]", "has a learning rate twice"),
        ("[compare]", "[compare]\n[tune]\nlearning_rate = [1e-5, 1e-4]\nseed = 7", "one that results are made with"),
    ],
)
def test_what_is_no_plan_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    file = plan_file(tmp_path, PLAN.replace(old, new, 1))
    if not words:
        assert read_plan(file)
        return
    with pytest.raises(UsageError) as error:
        read_plan(file)
    assert words in str(error.value)
    assert str(file) in str(error.value)


def test_a_ring_of_students_is_refused(tmp_path: Path) -> None:
    ring = PLAN.replace("layers = 1", 'layers = 1\nof = "far"', 1)
    ring = ring.replace('model = "demo-student-3"', 'layers = 1\nof = "made"')
    with pytest.raises(UsageError, match="made of far of made"):
        read_plan(plan_file(tmp_path, ring))


def test_methods_are_dropped_in_the_order_of_the_plan(tmp_path: Path) -> None:
    plan = read_plan(plan_file(tmp_path, PLAN.replace('reference = "llmr"', 'reference = "llmr"\ndrop = ["k4"]')))
    assert list(plan.without(0).methods) == ["llmr", "k4"]
    assert list(plan.without(1).methods) == ["llmr"]
    assert plan.without(1).students["far"].methods == ("llmr",)
    with pytest.raises(UsageError, match="--drop must be at most 1"):
        plan.without(2)


PLANS = sorted((Path(__file__).parents[2] / "plans").glob("*.toml"))


@pytest.mark.parametrize("file", PLANS, ids=lambda file: file.stem)
def test_the_plans_of_the_house_are_read_and_every_command_is_one(file: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["study", str(file), "--print", "--runs-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) > 20
