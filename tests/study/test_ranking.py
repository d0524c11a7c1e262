"""What gradients foretell is frozen before anything trains, and stays as it is."""

import json
from pathlib import Path

import pytest

from ketchup.errors import RunError, UsageError
from ketchup.manifests import check_same_settings
from ketchup_eval.study.graph import graph
from ketchup_eval.study.node import Node
from ketchup_eval.study.ranking import FOLDER, read_rankings
from ketchup_eval.study.reading import read_plan
from ketchup_eval.study.running import run_node
from tests.study.plans import PLAN, plan_file

PREDICTS = PLAN.replace('name = "tiny"', 'name = "tiny"\npredict = true').replace(
    "[variance]", "[variance]\ngradient = true"
)
PREDICTS = PREDICTS.replace("[methods.k4]", "[methods.kl]\n[methods.future]\nmethod = 'reinforce'\n[methods.k4]", 1)
PREDICTS = PREDICTS.replace(
    "method = 'reinforce'",
    "method = 'reinforce'\nestimator = 'shrink:0.25'\n[methods.reverse]\n"
    "method = 'reinforce'\nestimator = 'reverse-kl:0'",
)


def nodes_of(folder: Path, text: str = PREDICTS) -> dict[str, Node]:
    return graph(read_plan(plan_file(folder, text)), folder / "runs")


def row(
    estimator: str, cosine: float | None, baseline: str = "none", objective: str = "expected-return"
) -> dict[str, object]:
    found = {"value": cosine, "low": None, "high": None, "n": 9}
    named = {"estimator": f"{estimator}|baseline:{baseline}", "baseline": baseline, "objective": objective}
    return {**named, "batch_cosine": {"256": found}}


def measure(folder: Path, *rows: dict[str, object]) -> None:
    run = folder / "runs" / "tiny" / "variance-far-demo"
    run.mkdir(parents=True, exist_ok=True)
    student = {"name": "x", "gradient": {"rows": list(rows)} if rows else None}
    (run / "variance.json").write_text(json.dumps({"students": [student]}), encoding="utf-8")


ROWS = (
    row("llmr|gauge:raw", 0.3),
    row("llmr|gauge:raw", 0.9, "mean"),
    row("k-step:4|tail:segment|gauge:raw", 0.2),
    row("k-step:4|tail:one-step|gauge:raw", 0.5),
    row("shrink:0.25|gauge:raw", 0.4),
    row("reverse-kl:0|gauge:raw", 0.95, objective="state-kl"),
)


def test_every_training_waits_for_the_ranking_and_it_for_the_gradients(tmp_path: Path) -> None:
    nodes = nodes_of(tmp_path, PREDICTS + "[tune]\nlearning_rate = [1e-5, 1e-4]\n")
    for node in nodes.values():
        if node.kind in ("tune", "train"):
            assert f"predict-{node.labels['student']}-demo" in node.needs
    assert nodes["predict-far-demo"].needs == ("variance-far-demo",)
    assert "predict-far-demo" not in nodes_of(tmp_path, PLAN)


def test_the_ranking_is_of_the_methods_that_follow_a_measured_gradient(tmp_path: Path) -> None:
    node = nodes_of(tmp_path)["predict-far-demo"]
    measure(tmp_path, *ROWS)
    assert run_node(node, tmp_path / "runs" / "tiny", 1) == 0
    (found,) = read_rankings(tmp_path / "runs" / "tiny")
    assert (found["task"], found["student"], found["batch"]) == ("demo", "far", 256)
    # K = 4 trains with Algorithm 1's tail unless told otherwise; KL follows no gradient, reverse KL another one.
    ranked = [(one["method"], one["cosine"]["value"]) for one in found["ranking"]]
    assert ranked == [("k4", 0.5), ("future", 0.4), ("llmr", 0.3)]


def test_a_frozen_ranking_is_never_written_again(tmp_path: Path) -> None:
    node, folder = nodes_of(tmp_path)["predict-far-demo"], tmp_path / "runs" / "tiny"
    measure(tmp_path, *ROWS)
    run_node(node, folder, 1)
    frozen = (folder / FOLDER / "predict-far-demo.json").read_bytes()
    (folder / ".study" / "predict-far-demo.json").unlink()
    measure(tmp_path, row("llmr|gauge:raw", 0.99))
    assert run_node(node, folder, 1) == 0
    assert (folder / FOLDER / "predict-far-demo.json").read_bytes() == frozen


def test_nothing_is_foretold_of_what_has_begun_to_train(tmp_path: Path) -> None:
    nodes, folder = nodes_of(tmp_path, PREDICTS + "[tune]\nlearning_rate = [1e-5, 1e-4]\n"), tmp_path / "runs" / "tiny"
    measure(tmp_path, *ROWS)
    check_same_settings(folder / "tune-far-demo-kl-0.0001", {})
    with pytest.raises(RunError, match=r"tune-far-demo-kl-0\.0001 has begun to train, so nothing can be foretold"):
        run_node(nodes["predict-far-demo"], folder, 1)
    assert read_rankings(folder) == []


def test_without_gradients_nothing_is_foretold(tmp_path: Path) -> None:
    measure(tmp_path)
    with pytest.raises(RunError, match="has no gradients to rank methods by"):
        run_node(nodes_of(tmp_path)["predict-far-demo"], tmp_path / "runs" / "tiny", 1)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("gradient = true", "", "add `gradient = true` to [variance]"),
        ("gradient = true", "gradient = false", "add `gradient = true` to [variance]"),
        ("predict = true", 'predict = "yes"', "predict = 'yes'; write true or false"),
    ],
)
def test_a_plan_that_cannot_predict_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        read_plan(plan_file(tmp_path, PREDICTS.replace(old, new, 1)))
    assert words in str(error.value)
