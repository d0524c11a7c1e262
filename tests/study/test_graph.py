"""The graph of a plan: which commands, in which order, with which words."""

from pathlib import Path

import pytest

from ketchup.errors import UsageError
from ketchup_eval.study.graph import graph
from ketchup_eval.study.node import Node
from ketchup_eval.study.reading import read_plan
from ketchup_eval.study.selection import selected
from tests.study.plans import PLAN, plan_file

TUNED = PLAN + "[tune]\nlearning_rate = [1e-5, 0.001]\n"


def nodes_of(folder: Path, text: str = PLAN) -> dict[str, Node]:
    return graph(read_plan(plan_file(folder, text)), Path("runs"))


def test_every_node_comes_after_what_it_needs(tmp_path: Path) -> None:
    seen: set[str] = set()
    for node in nodes_of(tmp_path, TUNED).values():
        assert seen.issuperset(node.needs), node.name
        seen.add(node.name)


def test_kinds_are_counted(tmp_path: Path) -> None:
    kinds = [node.kind for node in nodes_of(tmp_path, TUNED).values()]
    # Two students, two methods, two rates: four choices of two trials. Seeds: two of one student, one of the other.
    # Evaluated are both starts, one of which is a student raw before, the teacher they share, and each method of each.
    expected = {"init": 1, "start": 1, "variance": 2, "tune": 8, "rate": 4, "train": 6, "evaluate": 8, "compare": 2}
    assert {kind: kinds.count(kind) for kind in set(kinds)} == expected


def test_a_training_is_an_ordinary_command(tmp_path: Path) -> None:
    node = nodes_of(tmp_path)["made-demo-k4-s1"]
    assert " ".join(node.words) == (
        "train ketchup --task demo --teacher demo-teacher --student runs/tiny/start-made-demo/best --batch-size 4 "
        "--k 4 --seed 1 --name made-demo-k4-s1 --runs-dir runs/tiny"
    )
    assert node.needs == ("start-made-demo",)
    assert node.labels == {"task": "demo", "student": "made", "method": "k4", "seed": 1}


def test_the_more_special_table_wins(tmp_path: Path) -> None:
    text = PLAN.replace("[tasks.demo]", "[tasks.demo]\n[tasks.demo.train]\nbatch_size = 5\nsteps = 1\n")
    text = text.replace("k = 4", "k = 4\nsteps = 9")
    words = " ".join(nodes_of(tmp_path, text)["far-demo-k4-s7"].words)
    assert "--batch-size 5" in words
    assert "--steps 9" in words


def test_epochs_of_a_special_table_stand_for_the_steps_of_a_general_one(tmp_path: Path) -> None:
    text = PLAN.replace("batch_size = 4", "batch_size = 4\nsteps = 8").replace("steps = 2", "epochs = 5")
    nodes = nodes_of(tmp_path, text)
    assert "--epochs" in nodes["start-made-demo"].words
    assert "--steps" not in nodes["start-made-demo"].words
    assert "--steps" in nodes["made-demo-k4-s0"].words


def test_a_chosen_rate_takes_the_place_of_any_other(tmp_path: Path) -> None:
    nodes = nodes_of(tmp_path, TUNED.replace("batch_size = 4", "batch_size = 4\nlr = 3e-4"))
    node = nodes["far-demo-llmr-s7"]
    assert node.rate == Path("runs/tiny/rates/rate-far-demo-llmr.txt")
    assert not {"--lr", "--learning-rate"} & set(node.words)
    assert "rate-far-demo-llmr" in node.needs
    assert nodes["rate-far-demo-llmr"].trials == {
        1e-5: Path("runs/tiny/tune-far-demo-llmr-1e-05"),
        1e-3: Path("runs/tiny/tune-far-demo-llmr-0.001"),
    }


def test_a_tuned_teacher_is_what_all_learn_from(tmp_path: Path) -> None:
    text = PLAN.replace('model = "demo-teacher"', 'model = "demo-teacher"\n[teachers.teacher.train]\nsteps = 1', 1)
    nodes = nodes_of(tmp_path, text)
    assert nodes["teacher-demo"].words[:2] == ("train", "sft")
    for name in ("init-made-demo", "start-made-demo", "far-demo-k4-s7", "variance-made-demo"):
        assert "runs/tiny/teacher-demo/best" in nodes[name].words
        assert "teacher-demo" in nodes[name].needs


def test_a_student_is_evaluated_before_its_distillation_too(tmp_path: Path) -> None:
    nodes = nodes_of(tmp_path)  # the second row of the paper's Table 1
    assert nodes["evaluate-raw-made-demo"].words[:2] == ("evaluate", "runs/tiny/init-made-demo")
    assert nodes["evaluate-raw-made-demo"].needs == ("init-made-demo",)
    assert "evaluate-raw-far-demo" not in nodes  # it has none


def test_a_new_teacher_begins_from_nothing_on_its_tasks_rows(tmp_path: Path) -> None:
    new = "new = { layers = 3, vocabulary = 90 }\ntrain = { steps = 5 }"
    plan = read_plan(plan_file(tmp_path, PLAN.replace('model = "demo-teacher"', new, 1))).with_data(["demo=rows"])
    nodes = graph(plan, Path("runs"))
    assert " ".join(nodes["init-teacher-demo"].words) == (
        "init-student --new --task demo --data rows --layers 3 --vocabulary 90 --out runs/tiny/init-teacher-demo"
    )
    assert nodes["teacher-demo"].needs == ("init-teacher-demo",)
    assert "runs/tiny/init-teacher-demo" in nodes["teacher-demo"].words
    assert "rows" in nodes["far-demo-k4-s7"].words


@pytest.mark.parametrize("given", ["demo", "demo=", "dem=rows", "=rows"])
def test_rows_of_a_task_that_is_not_there_are_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(UsageError, match=r"--data takes TASK=FOLDER with one of the plan's tasks \(demo\), not"):
        read_plan(plan_file(tmp_path)).with_data([given])


def test_two_results_of_one_name_are_refused(tmp_path: Path) -> None:
    text = PLAN.replace("[methods.k4]", "[methods.demo-llmr]\nmethod = 'kl'\n[methods.k4]")
    text = text.replace("[students.far]", "[students.far-demo]\nmodel = 'x'\n[students.far]")
    text = text.replace("[tasks.demo]", "[tasks.demo]\n[tasks.demo-demo]\ntask = 'demo'")
    with pytest.raises(UsageError, match="two results would be called"):
        nodes_of(tmp_path, text)


def test_a_part_is_chosen_by_name_kind_or_pattern(tmp_path: Path) -> None:
    nodes = nodes_of(tmp_path)
    assert list(selected(nodes, ["variance"], [])) == ["variance-made-demo", "variance-far-demo"]
    assert list(selected(nodes, ["far-*-s7"], [])) == ["far-demo-llmr-s7", "far-demo-k4-s7"]
    assert list(selected(nodes, [], ["made-demo-k4-s0"])) == ["init-made-demo", "start-made-demo", "made-demo-k4-s0"]
    assert selected(nodes, [], []) == nodes
    with pytest.raises(UsageError, match='--only "far-x" is neither a result of the plan nor one of teacher, init'):
        selected(nodes, ["far-x"], [])


def test_a_contest_has_its_own_reference_methods_and_tasks(tmp_path: Path) -> None:
    text = PLAN.replace("[methods.k4]", "[methods.kl]\n[methods.k4]").replace(
        "[tasks.demo]", "[tasks.demo]\n[tasks.xsum]"
    )
    text += '[judge]\nreference = "kl"\nmethods = ["k4"]\ntasks = ["xsum"]\nlimit = 9\n'
    nodes = nodes_of(tmp_path, text)
    judged = [node for node in nodes.values() if node.kind == "judge"]
    assert [node.name for node in judged] == ["judge-made-xsum", "judge-far-xsum"]
    assert judged[1].words[:5] == ("judge", "--a", "far-xsum-k4-s7", "--b", "far-xsum-kl-s7")
    assert judged[1].needs == ("evaluate-far-xsum-kl", "evaluate-far-xsum-k4")
    assert "compare-far-demo-kl" in nodes  # which is held to the plan's own reference


def test_a_teacher_is_tuned_on_the_tasks_that_say_so(tmp_path: Path) -> None:
    text = PLAN.replace("[tasks.demo]", "[tasks.demo]\n[tasks.xsum]")
    text = text.replace('model = "demo-teacher"', 'model = "demo-teacher"\ntuned = ["xsum"]\ntrain = {}', 1)
    nodes = nodes_of(tmp_path, text)
    assert [node.name for node in nodes.values() if node.kind == "teacher"] == ["teacher-xsum"]
    assert "demo-teacher" in nodes["far-demo-llmr-s7"].words
    assert "runs/tiny/teacher-xsum/best" in nodes["far-xsum-llmr-s7"].words
